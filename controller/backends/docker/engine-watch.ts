import { EventEmitter, on } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import type Dockerode from 'dockerode';
import type { ContainerInfo } from 'dockerode';
import type { Logger } from 'pino';
import { z } from 'zod';
import { messageOf } from '../../errors.ts';
import { LABELS, MANAGED_BY } from '../../model/labels.ts';

/** What the engine says about the containers of one platform instance. */
export type EngineChange =
  /** All of them at one moment, ended ones included; after every connection. */
  | { readonly kind: 'listed'; readonly containers: readonly ContainerInfo[] }
  | (ContainerEvent & { readonly kind: 'start' | 'oom' | 'destroy' })
  | (ContainerEvent & { readonly kind: 'die'; readonly exitCode: number | null });

/** What all events of one container have in common. */
export interface ContainerEvent {
  readonly containerId: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly at: Date;
}

export interface EngineWatchOptions {
  readonly docker: Dockerode;
  readonly instance: string;
  readonly log: Logger;
  /**
   * A connection is given up after this long, and the containers are listed again with the next one: so a
   * half-open connection, or an event that was never sent, delays an observation by no more.
   * @default 15000
   */
  readonly relistMs?: number;
}

const DEFAULT_RELIST_MS = 15_000;
const FIRST_BACKOFF_MS = 100;
const LONGEST_BACKOFF_MS = 5_000;

/** @returns the engine filter that selects an instance's run containers. */
export const instanceFilter = (instance: string): string[] => [
  `${LABELS.managedBy}=${MANAGED_BY}`,
  `${LABELS.component}=run`,
  `${LABELS.instance}=${instance}`,
];

const eventSchema = z.object({
  Action: z.enum(['start', 'oom', 'destroy', 'die']),
  Actor: z.object({ ID: z.string(), Attributes: z.record(z.string(), z.string()) }),
  timeNano: z.number(),
});

/**
 * @returns the event of one line of the engine's stream, or undefined for one that says nothing to us.
 * @throws {SyntaxError} for a line that is not whole.
 */
export function parseEvent(line: string): EngineChange | undefined {
  const parsed = eventSchema.safeParse(JSON.parse(line));
  if (!parsed.success) return undefined;
  const { Action: kind, Actor: actor, timeNano } = parsed.data;
  const event = { containerId: actor.ID, labels: actor.Attributes, at: new Date(timeNano / 1e6) };
  if (kind !== 'die') return { ...event, kind };
  const exitCode = Number.parseInt(actor.Attributes['exitCode'] ?? '', 10);
  return { ...event, kind, exitCode: Number.isNaN(exitCode) ? null : exitCode };
}

/**
 * Follows the containers of one instance until `signal` aborts, and then ends. Never throws: while the engine is
 * gone it tries again, with backoff and jitter.
 */
export async function* watchEngine(
  options: EngineWatchOptions,
  signal: AbortSignal,
): AsyncGenerator<EngineChange, void, undefined> {
  let failures = 0;
  const aborted = (): boolean => signal.aborted;
  while (!aborted()) {
    try {
      for await (const change of connection(options, signal)) {
        failures = 0;
        yield change;
      }
    } catch (error) {
      if (aborted()) return;
      failures += 1;
      const waitMs =
        Math.min(FIRST_BACKOFF_MS * 2 ** (failures - 1), LONGEST_BACKOFF_MS) * (0.5 + Math.random() / 2);
      options.log.warn(
        { error: messageOf(error), failures, waitMs },
        'lost the container engine; connecting again',
      );
      await delay(waitMs, undefined, { signal }).catch(() => undefined);
    }
  }
}

/** One connection: its events, and one listing. Ends when its time is over; throws when it breaks before. */
async function* connection(
  { docker, instance, relistMs = DEFAULT_RELIST_MS }: EngineWatchOptions,
  signal: AbortSignal,
): AsyncGenerator<EngineChange, void, undefined> {
  const over = new AbortController();
  const expiry = setTimeout(() => over.abort(), relistMs);
  const abortSignal = AbortSignal.any([signal, over.signal]);
  const inbox = new EventEmitter();
  const changes = on(inbox, 'change', { signal, close: ['over'] }) as AsyncIterable<[EngineChange]>;
  over.signal.addEventListener('abort', () => inbox.emit('over'), { once: true });
  try {
    const filter = instanceFilter(instance);
    // Events first, then the list: nothing can happen between the two without being seen.
    const stream = await docker.getEvents({
      filters: { type: ['container'], event: ['start', 'oom', 'destroy', 'die'], label: filter },
      abortSignal,
    });
    const broken = (error?: Error): void => {
      // One end may be told several times over, but nobody listens to a second one.
      if (abortSignal.aborted) return;
      inbox.emit('error', error ?? new Error('the engine ended its stream of events'));
      over.abort();
    };
    stream.on('close', broken);
    createInterface({ input: stream })
      .on('error', broken)
      .on('line', (line) => {
        try {
          const change = parseEvent(line);
          if (change !== undefined) inbox.emit('change', change);
        } catch (error) {
          broken(new Error('the stream of events broke off in mid-line', { cause: error }));
        }
      });
    docker
      .listContainers({ all: true, filters: { label: filter }, abortSignal })
      .then(
        (containers) => inbox.emit('change', { kind: 'listed', containers } satisfies EngineChange),
        broken,
      );
    for await (const [change] of changes) yield change;
  } finally {
    clearTimeout(expiry);
    over.abort();
  }
}
