import { createHash } from 'node:crypto';
import { mkdir, open, rmdir } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { DockerBackend } from './backends/docker/docker-backend.ts';
import { Client } from './client.ts';
import type { PlatformConfig } from './config.ts';
import { WormholeError } from './errors.ts';
import { startProbes, type Probes } from './control-plane/probes.ts';
import { takeLead } from './lead.ts';
import { openRunAccess } from './run-access.ts';
import { KeyRing } from './secrets/cipher.ts';
import { encryptionKeyFile, loadOrCreateKeyFile } from './secrets/key-file.ts';
import { connectEngine, type Engine } from './setup/engine.ts';
import { ensureRunnerImage } from './setup/image.ts';
import { startPostgres } from './setup/postgres.ts';
import { ControllerTelemetry } from './telemetry/controller-telemetry.ts';
import { Metrics } from './telemetry/metrics.ts';
import { startWatchdog, type WatchdogProcess } from './watchdog/spawn.ts';
import { WATCHDOG_GRACE_MS } from './watchdog/watchdog.ts';

export interface PlatformOptions {
  readonly config: PlatformConfig;
  readonly log: Logger;
  /** Told before each slow step of the start, in words for people. */
  readonly onStep: (step: string) => void;
  /** Gives the start up between two steps. @default - never */
  readonly signal?: AbortSignal;
}

/** A platform on one machine: the controller with queue, dispatch, gateway and egress proxy, and what it started. */
export interface Platform {
  readonly client: Client;
  readonly facts: {
    readonly databaseUrl: string;
    /** The container engine, for people. */
    readonly engine: string;
    /** The runner's image: its name. */
    readonly image: string;
    readonly queue: 'postgresql' | 'redis';
    readonly logs: 'postgresql' | 'mongodb';
    /** Where Prometheus reads the metrics; null: nowhere. */
    readonly metricsUrl: string | null;
  };
  /**
   * Aborts, with why as its reason, when another controller took the lead while PostgreSQL was away: this process must
   * exit at once, without `stop`, because the live runs are the other one's now.
   */
  readonly failed: AbortSignal;
  /**
   * Takes no more runs, lets live ones end for `drainMs`, cancels the rest, and stops all that the platform started.
   * Queued runs stay queued. Called again with less time, it hurries.
   */
  stop(options: { readonly drainMs: number }): Promise<void>;
}

/**
 * Starts everything, in the order in which things need each other. What was started is stopped again if a later step
 * fails.
 * @throws {WormholeError} with what to do, for whatever this machine lacks.
 */
export async function startPlatform(options: PlatformOptions): Promise<Platform> {
  const { config, log } = options;
  if (config.kubernetes !== undefined) {
    throw new WormholeError(
      'CONFIG_INVALID',
      'kubernetes: is for the control plane in a cluster ("wormhole controller"); "wormhole up" runs containers of this machine: remove the section',
    );
  }
  const signal = options.signal ?? new AbortController().signal;
  const onStep = (step: string): void => {
    signal.throwIfAborted();
    options.onStep(step);
  };
  await using started = new AsyncDisposableStack();

  onStep('looking for a container engine');
  const { cacheDir, stateDir } = config.paths;
  const engine = await connectEngine({ dockerHost: config.dockerHost, cacheDir, onProgress: onStep });
  started.defer(() => engine.release());
  const { runnerImage, baseImage } = config;
  const image = await ensureRunnerImage(engine, { cacheDir, runnerImage, baseImage, onProgress: onStep });

  await mkdir(stateDir, { recursive: true });
  const databaseUrl = await openDatabase(config, onStep, started);
  const keys = KeyRing.parse(
    config.encryptionKeys ?? (await loadOrCreateKeyFile(encryptionKeyFile(stateDir))),
  );
  const metrics = new Metrics({ labelledTenants: config.metricsTenants });
  const served = await serveMetrics(config, metrics, started);
  const telemetry = new ControllerTelemetry({ metrics, instance: config.instance, traces: config.traces });
  const lead = started.use(
    await takeLead({
      config,
      databaseUrl,
      log,
      onStandby: () => onStep(`another controller leads instance "${config.instance}"; standing by`),
      openBackend: async ({ pool, logs }, opened) => {
        const { internalServices } = config;
        const access = openRunAccess({ pool, keys, logs, internalServices, metrics, log });
        opened.defer(() => access.close());
        const watchdog = await openWatchdog(config, engine, opened);
        opened.defer(() => watchdog.stop());
        const backend = new DockerBackend({
          docker: engine.docker,
          image: image.image,
          instance: config.instance,
          runDir: await openRunDir(config, opened),
          channels: access.sockets,
          security: {},
          log,
        });
        onStep('taking over what was running');
        // Nobody else starts runs of this instance: a folder without a container is what a dead controller left.
        await backend.removeOrphanFolders(0);
        return backend;
      },
      telemetry,
      signal,
    }),
  );
  served?.probes.follow(() => Promise.resolve([]));
  const { controller, server } = lead;
  const client = new Client({ ...lead, keys });
  started.defer(() => client.close());

  const parts = started.move();
  let stopping: Promise<void> | undefined;
  return {
    client,
    facts: {
      databaseUrl,
      engine: engine.description,
      image: image.name,
      queue: server.kind,
      logs: config.mongodbUrl === undefined ? 'postgresql' : 'mongodb',
      metricsUrl: served?.url ?? null,
    },
    failed: lead.failed,
    stop: async ({ drainMs }) => {
      stopping ??= controller.close().finally(() => parts.disposeAsync());
      const hurry = setTimeout(() => void controller.cancelLive(), drainMs);
      try {
        await stopping;
      } finally {
        clearTimeout(hurry);
      }
    },
  };
}

/** Has Prometheus read the metrics, if somebody asked for that. */
async function serveMetrics(
  { metricsAddress }: PlatformConfig,
  metrics: Metrics,
  started: AsyncDisposableStack,
): Promise<{ readonly probes: Probes; readonly url: string } | undefined> {
  if (metricsAddress === undefined) return undefined;
  const probes = await startProbes(metricsAddress, metrics);
  started.defer(() => probes.close());
  const { host } = metricsAddress;
  return { probes, url: `http://${isIPv6(host) ? `[${host}]` : host}:${probes.port}/metrics` };
}

async function openDatabase(
  config: PlatformConfig,
  onStep: (step: string) => void,
  started: AsyncDisposableStack,
): Promise<string> {
  if (config.databaseUrl !== undefined) return config.databaseUrl;
  onStep('starting the embedded PostgreSQL');
  const postgres = await startPostgres({
    dir: join(config.paths.stateDir, 'postgres'),
    cacheDir: config.paths.cacheDir,
    log: onStep,
    durable: !config.ephemeral,
  });
  started.defer(() => postgres.stop());
  return postgres.url;
}

/** Makes the folder of this instance's run folders. Its name is short, because Unix sockets lie below it. */
async function openRunDir(config: PlatformConfig, started: AsyncDisposableStack): Promise<string> {
  const name = createHash('sha256').update(config.instance).digest('hex').slice(0, 8);
  const runDir = join(config.runDir, name);
  await mkdir(runDir, { recursive: true, mode: 0o700 });
  started.defer(() =>
    rmdir(runDir).catch((error: unknown) => {
      // A run that could not be removed yet keeps its folder until the next start.
      if ((error as NodeJS.ErrnoException).code !== 'ENOTEMPTY') throw error;
    }),
  );
  return runDir;
}

/** Starts the watchdog, which writes its log beside the state. */
async function openWatchdog(
  config: PlatformConfig,
  engine: Engine,
  started: AsyncDisposableStack,
): Promise<WatchdogProcess> {
  const { socketPath } = engine.docker.modem as { socketPath?: string };
  if (socketPath === undefined) {
    throw new WormholeError(
      'ENGINE_UNAVAILABLE',
      'the container engine is reached over TCP, but its containers need Unix sockets of this machine; set DOCKER_HOST to a unix:// engine',
    );
  }
  const logFile = await open(join(config.paths.stateDir, 'watchdog.log'), 'a');
  started.defer(() => logFile.close());
  return startWatchdog({
    dockerSocket: socketPath,
    instance: config.instance,
    graceMs: WATCHDOG_GRACE_MS,
    stderr: logFile.fd,
  });
}
