/**
 * The process of one controller that is measured: it leads, or stands by, with a {@link GatedBackend}, and ends with its
 * parent. Usage: node --expose-gc leader.ts, with an IPC channel; see messages.ts.
 */
import { pino } from 'pino';
import { loadEnvironment } from '../../controller/config.ts';
import { ephemeralConfig } from '../../controller/demo/ephemeral-config.ts';
import { messageOf } from '../../controller/errors.ts';
import { takeLead } from '../../controller/lead.ts';
import { GatedBackend } from './gated-backend.ts';
import type { Answer, LeaderOptions, Request, Start } from './messages.ts';

/** No attempt of the benchmark ever claims. */
const PATIENCE_MS = 3_600_000;
const US_PER_MS = 1000;

const starts: Start[] = [];
let asked = Infinity;
let backend: GatedBackend | undefined;

process.on('message', (request: Request) => {
  switch (request.kind) {
    case 'lead':
      lead(request.options).catch((error: unknown) => {
        say({ kind: 'failed', message: messageOf(error) });
        process.exitCode = 1;
        process.disconnect();
      });
      break;
    case 'gate':
      if (backend !== undefined) backend.gate = request.gate;
      break;
    case 'starts':
      asked = request.count;
      tellStarts();
      break;
    case 'memory':
      // What the first one finalises, the second frees.
      globalThis.gc?.();
      globalThis.gc?.();
      say({ kind: 'memory', usage: process.memoryUsage() });
      break;
  }
});
// Live runs are left alone, as when a controller dies.
process.on('disconnect', () => process.exit());

async function lead({
  databaseUrl,
  redisUrl,
  folder,
  instance,
  maxConcurrent,
  gate,
}: LeaderOptions): Promise<void> {
  const limits = { maxConcurrent, tenants: [], internalServices: [] };
  backend = new GatedBackend(gate, (start) => {
    starts.push(start);
    tellStarts();
  });
  const opened = backend;
  await takeLead({
    config: {
      ...ephemeralConfig(loadEnvironment(), { path: folder, instance }, limits),
      redisUrl,
      claimTimeoutMs: PATIENCE_MS,
    },
    databaseUrl,
    log: pino({ level: 'warn' }, pino.destination(2)),
    onStandby: () => say({ kind: 'standing-by' }),
    openBackend: () => Promise.resolve(opened),
    signal: new AbortController().signal,
  });
  say({ kind: 'leading' });
}

function tellStarts(): void {
  if (starts.length < asked) return;
  asked = Infinity;
  const { user, system } = process.cpuUsage();
  const cpuMs = (user + system) / US_PER_MS;
  say({ kind: 'starts', starts: starts.splice(0), backendMs: backend?.ownMs ?? 0, cpuMs });
}

function say(answer: Answer): void {
  process.send?.(answer);
}
