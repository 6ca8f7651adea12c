import { once } from 'node:events';
import { pino, type Logger } from 'pino';
import { loadConfig, type PlatformConfig } from '../config.ts';
import { WormholeError } from '../errors.ts';
import { startPlatform, type Platform } from '../platform.ts';
import { EXIT_OK } from './exit-codes.ts';
import { peopleLog } from './people-log.ts';
import {
  readPlatformFile,
  removePlatformFile,
  writePlatformFile,
  type PlatformFile,
} from './platform-file.ts';
import type { Session } from './session.ts';

/** Live runs may take this long to end once the platform stops; the rest is canceled. */
const DRAIN_MS = 30_000;

/**
 * Runs the platform until it is interrupted; the first interrupt lets live runs end, the second cancels them.
 * @param file the declared file, if one is named.
 * @returns the exit code.
 */
export async function up(session: Session, file: string | undefined): Promise<number> {
  const { output, interrupt } = session;
  const config = loadConfig({ env: session.env, file });
  const { stateDir } = config.paths;
  await refuseTwice(stateDir);
  const platform = await start(session, config);
  if (platform === undefined) return interrupt.exitCode;
  const { failed } = platform;
  const onFailed = (): void => {
    // No stop in order: the live runs are the other controller's now.
    const { message, exitCode } = failed.reason as WormholeError;
    output.note(message);
    process.exit(exitCode);
  };
  failed.addEventListener('abort', onFailed);
  if (failed.aborted) onFailed();
  // The first call's promise tells of errors.
  interrupt.hurry.addEventListener('abort', () => void platform.stop({ drainMs: 0 }).catch(() => undefined));
  try {
    await writePlatformFile(stateDir, {
      instance: config.instance,
      databaseUrl: config.databaseUrl === undefined ? platform.facts.databaseUrl : null,
      needs: neededVariables(config),
    });
    tellReady(session, config, platform);
    if (!interrupt.stop.aborted) await once(interrupt.stop, 'abort');
    output.event({ type: 'stopping', drainMs: DRAIN_MS });
    output.line(`stopping: live runs have ${DRAIN_MS / 1000} s to end; Ctrl-C again cancels them`);
  } finally {
    removePlatformFile(stateDir);
    await platform.stop({ drainMs: DRAIN_MS });
  }
  output.event({ type: 'stopped' });
  output.line('stopped');
  return EXIT_OK;
}

/** @returns the platform, or undefined when the start was interrupted: all that was started is stopped again. */
async function start(session: Session, config: PlatformConfig): Promise<Platform | undefined> {
  const { output, interrupt } = session;
  const onInterrupt = (): void => output.note('stopping as soon as this step has ended');
  interrupt.stop.addEventListener('abort', onInterrupt);
  try {
    return await startPlatform({
      config,
      log: makeLogger(session, config),
      onStep(step) {
        output.event({ type: 'step', step });
        output.line(`${output.style('dim', '…')} ${step}`);
      },
      signal: interrupt.stop,
    });
  } catch (error) {
    // A program that a step runs may have got the Ctrl-C, too, and failed with another error.
    if (interrupt.stop.aborted) return undefined;
    throw error;
  } finally {
    interrupt.stop.removeEventListener('abort', onInterrupt);
  }
}

/** Two platforms on one state folder would share one embedded database. */
async function refuseTwice(stateDir: string): Promise<void> {
  const running = await readPlatformFile(stateDir);
  if (running === undefined) return;
  throw new WormholeError(
    'CONFIG_INVALID',
    `a platform runs already on ${stateDir} (process ${running.pid}, since ${running.startedAt}): stop it first, or set WORMHOLE_STATE_DIR to another folder`,
  );
}

function makeLogger({ streams }: Session, config: PlatformConfig): Logger {
  const destination = streams.stderr.isTTY ? peopleLog(streams.stderr) : streams.stderr;
  return pino({ level: config.logLevel }, destination);
}

function neededVariables(config: PlatformConfig): PlatformFile['needs'] {
  return [
    ...(config.databaseUrl === undefined ? [] : (['DATABASE_URL'] as const)),
    ...(config.redisUrl === undefined ? [] : (['REDIS_URL'] as const)),
    ...(config.mongodbUrl === undefined ? [] : (['MONGODB_URL'] as const)),
    ...(config.encryptionKeys === undefined ? [] : (['WORMHOLE_ENCRYPTION_KEYS'] as const)),
  ];
}

function tellReady({ output }: Session, config: PlatformConfig, platform: Platform): void {
  const { engine, image, queue, logs, metricsUrl } = platform.facts;
  const tenants = config.tenants.length;
  output.event({ type: 'ready', instance: config.instance, tenants, engine, image, queue, logs });
  const mark = output.style('green', '✓');
  output.line(
    `${mark} ready: ${tenants} ${tenants === 1 ? 'tenant' : 'tenants'}, at most ${config.maxConcurrent} runs at once`,
  );
  output.line(`  engine ${engine}, image ${image}, queue in ${queue}, logs in ${logs}`);
  if (metricsUrl !== null) output.line(`  metrics at ${metricsUrl}`);
  if (tenants === 0)
    output.line('  no tenant is declared: write a wormhole.yaml (README.md) and start again');
  output.line(
    '  in another terminal: npx wormhole submit <workflow.json> --tenant <id> --follow; Ctrl-C stops',
  );
}
