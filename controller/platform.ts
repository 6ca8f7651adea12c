import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import type { Logger } from 'pino';
import { DockerBackend } from './backends/docker/docker-backend.ts';
import { Client } from './client.ts';
import type { PlatformConfig } from './config.ts';
import { AttemptEnds } from './dispatch/attempt-ends.ts';
import { Dispatcher } from './dispatch/dispatcher.ts';
import { Leadership } from './dispatch/leadership.ts';
import { Reconciler } from './dispatch/reconciler.ts';
import { Supervisor } from './dispatch/supervisor.ts';
import { TenantLanes } from './dispatch/tenant-lanes.ts';
import { decisionLine } from './egress/decision-log.ts';
import { Dialer } from './egress/dial.ts';
import { signGrant } from './egress/grant.ts';
import { EgressProxy } from './egress/proxy.ts';
import { messageOf, WormholeError } from './errors.ts';
import { claimConnections } from './gateway/claim-connections.ts';
import { Gateway } from './gateway/gateway.ts';
import { Reports } from './gateway/report.ts';
import { Intake } from './intake/intake.ts';
import { openQueueServer } from './queue/queue-server.ts';
import { RunQueues } from './queue/run-queues.ts';
import { RunSockets } from './run-sockets.ts';
import { KeyRing } from './secrets/cipher.ts';
import { encryptionKeyFile, loadOrCreateKeyFile } from './secrets/key-file.ts';
import { connectEngine, type Engine } from './setup/engine.ts';
import { ensureRunnerImage } from './setup/image.ts';
import { startPostgres } from './setup/postgres.ts';
import { liveAttempts } from './store/attempts.ts';
import { LogBuffer } from './store/logs/log-buffer.ts';
import { openLogStore } from './store/logs/open.ts';
import { migrate } from './store/migrate.ts';
import { Notifications } from './store/notifications.ts';
import { requestCancel } from './store/run-transitions.ts';
import { getTenant, setGlobalCap } from './store/tenants.ts';
import { startWatchdog } from './watchdog/spawn.ts';

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
  };
  /**
   * Takes no more runs, lets live ones end for `drainMs`, cancels the rest, and stops all that the platform started.
   * Queued runs stay queued. Called again with less time, it hurries.
   */
  stop(options: { readonly drainMs: number }): Promise<void>;
}

const POOL_CONNECTIONS = 20;
/** Of PostgreSQL, for the queue: one for each tenant that has work at a time, and a few. */
const QUEUE_CONNECTIONS = 140;
/** After a run's deadline the runner and the controller end it; the watchdog, this much later, is for when both fail. */
const WATCHDOG_GRACE_MS = 2_000;
const EGRESS_PROXY_URL = 'unix:/run/wormhole/egress.sock';
/** A grant outlives its run's deadline by the time that the last request may take to be refused. */
const GRANT_SLACK_MS = 1_000;

/**
 * Starts everything, in the order in which things need each other. What was started is stopped again if a later step
 * fails.
 * @throws {WormholeError} with what to do, for whatever this machine lacks.
 */
export async function startPlatform(options: PlatformOptions): Promise<Platform> {
  const { config, log, onStep } = options;
  const signal = options.signal ?? new AbortController().signal;
  const stepTo = (step: string): void => {
    signal.throwIfAborted();
    onStep(step);
  };
  const onLost = (error: Error): void => log.warn({ error: error.message }, 'a connection was lost');
  await using started = new AsyncDisposableStack();

  stepTo('looking for a container engine');
  const engine = await connectEngine({
    dockerHost: config.dockerHost,
    cacheDir: config.paths.cacheDir,
    onProgress: stepTo,
  });
  started.defer(() => engine.release());
  const dockerSocket = socketOf(engine);
  const runner = await ensureRunnerImage(engine, {
    cacheDir: config.paths.cacheDir,
    runnerImage: config.runnerImage,
    baseImage: config.baseImage,
    onProgress: stepTo,
  });

  await mkdir(config.paths.stateDir, { recursive: true });
  const databaseUrl = await openDatabase(config, stepTo, started);
  const pool = new pg.Pool({ connectionString: databaseUrl, max: POOL_CONNECTIONS });
  pool.on('error', onLost);
  started.defer(() => pool.end());
  await migrate(pool);
  const keys = KeyRing.parse(
    config.encryptionKeys ?? (await loadOrCreateKeyFile(encryptionKeyFile(config.paths.stateDir))),
  );

  const leadership = await Leadership.acquire({
    databaseUrl,
    instance: config.instance,
    onWait: () => stepTo(`another controller leads instance "${config.instance}"; standing by`),
    onLost: (error) => {
      // Another one may lead from now on: two must not serve the same runs.
      log.fatal({ error: error.message }, 'lost the lead of this instance; stopping');
      void platform.stop({ drainMs: 0 });
    },
    signal,
  });
  started.defer(() => leadership.release());

  const notifications = new Notifications(databaseUrl, onLost);
  await notifications.start();
  started.defer(() => notifications.close());
  const server = openQueueServer({
    databaseUrl,
    redisUrl: config.redisUrl,
    maxConnections: QUEUE_CONNECTIONS,
    onError: onLost,
  });
  started.defer(() => server.close());
  const logs = await openLogStore({
    pool,
    mongodbUrl: config.mongodbUrl,
    retentionDays: config.logRetentionDays,
    log: (message) => log.warn(message),
  });
  started.defer(() => logs.close());
  const client = new Client({ pool, notifications, server, logs, keys });
  started.defer(() => client.close());

  await setGlobalCap(pool, config.maxConcurrent);
  await client.applyTenants(config.tenants);

  const logLines = new LogBuffer(logs, (lost, error) =>
    log.warn({ lost, error: messageOf(error) }, 'log lines were lost'),
  );
  started.defer(() => logLines.flush());
  const grantKey = keys.derive('egress-grants');
  const dialer = new Dialer();
  const proxy = new EgressProxy({
    grantKey,
    dialer,
    internalServices: config.internalServices,
    onDecision: (record) => {
      const line = decisionLine(record);
      if (line !== null) logLines.add(line);
    },
  });
  const reports = new Reports(pool, logs, (ref, lost, error) =>
    log.warn(
      { runId: ref.runId, attempt: ref.attempt, lost, error: messageOf(error) },
      'log lines of a run were lost',
    ),
  );
  const gateway = new Gateway(
    {
      pool,
      connections: claimConnections({
        pool,
        keys,
        log,
        resolve: (_ref, stored) => {
          if (stored.kind === 'OAUTH2') throw new WormholeError('CREDENTIALS_UNAVAILABLE', 'oauth2 pending');
          return Promise.resolve(stored);
        },
      }),
      egress: async ({ runId, attempt }, tenantId, until) => {
        const { egress: policy } = await getTenant(pool, tenantId);
        const expiresAt = until.getTime() + GRANT_SLACK_MS;
        return {
          proxyUrl: EGRESS_PROXY_URL,
          grant: signGrant(grantKey, { tenantId, runId, attempt, policy, expiresAt }),
        };
      },
    },
    reports,
    log,
  );
  started.defer(() => gateway.close());
  const sockets = new RunSockets(gateway, proxy);
  started.defer(() => sockets.closeAll());

  const watchdogLog = await open(join(config.paths.stateDir, 'watchdog.log'), 'a');
  started.defer(() => watchdogLog.close());
  const watchdog = startWatchdog({
    dockerSocket,
    instance: config.instance,
    graceMs: WATCHDOG_GRACE_MS,
    stderr: watchdogLog.fd,
  });
  started.defer(() => watchdog.stop());
  const backend = new DockerBackend({
    docker: engine.docker,
    image: runner.image,
    instance: config.instance,
    runDir: config.runDir,
    channels: sockets,
    security: {},
    log,
  });

  const ends = new AttemptEnds();
  const observing = new AbortController();
  const observed = observe(backend, ends, observing.signal);
  started.defer(async () => {
    observing.abort();
    await observed;
  });
  const queues = new RunQueues(server);
  started.defer(() => queues.close());
  const supervisor = new Supervisor({
    pool,
    backend,
    ends,
    notifications,
    policy: config.retry,
    claimTimeoutMs: config.claimTimeoutMs,
    log,
  });
  const reconciler = new Reconciler(pool, backend, supervisor, queues, log);
  const dispatcher = new Dispatcher(pool, server, supervisor);
  const lanes = new TenantLanes(pool, server, dispatcher, notifications, log);
  const intake = new Intake(pool, server, queues, log);

  stepTo('taking over what was running');
  await reconciler.recover(server);
  await dispatcher.start();
  await lanes.start();
  intake.start();
  reconciler.start();
  notifications.on('limits', () => {
    dispatcher
      .refresh()
      .catch((error: unknown) => log.warn({ error: messageOf(error) }, 'could not read the global cap'));
  });

  const parts = started.move();
  let stopping: Promise<void> | undefined;
  const cancelLive = async (): Promise<void> => {
    for (const { runId } of await liveAttempts(pool)) await requestCancel(pool, runId);
  };
  const stopAll = async (): Promise<void> => {
    await intake.close();
    await lanes.close();
    await dispatcher.close();
    await supervisor.idle();
    await reconciler.close();
    await parts.disposeAsync();
  };
  const platform: Platform = {
    client,
    facts: {
      databaseUrl,
      engine: engine.description,
      image: runner.name,
      queue: server.kind,
      logs: config.mongodbUrl === undefined ? 'postgresql' : 'mongodb',
    },
    stop: async ({ drainMs }) => {
      stopping ??= stopAll();
      const hurry = setTimeout(() => {
        cancelLive().catch((error: unknown) =>
          log.error({ error: messageOf(error) }, 'could not cancel live runs'),
        );
      }, drainMs);
      try {
        await stopping;
      } finally {
        clearTimeout(hurry);
      }
    },
  };
  return platform;
}

async function openDatabase(
  config: PlatformConfig,
  stepTo: (step: string) => void,
  started: AsyncDisposableStack,
): Promise<string> {
  if (config.databaseUrl !== undefined) return config.databaseUrl;
  stepTo('starting the embedded PostgreSQL');
  const postgres = await startPostgres({
    dir: join(config.paths.stateDir, 'postgres'),
    cacheDir: config.paths.cacheDir,
    log: stepTo,
    durable: !config.ephemeral,
  });
  started.defer(() => postgres.stop());
  return postgres.url;
}

/** The run's two sockets are mounted into its container, so the engine must be on this machine. */
function socketOf(engine: Engine): string {
  const { socketPath } = engine.docker.modem as { socketPath?: string };
  if (socketPath !== undefined) return socketPath;
  throw new WormholeError(
    'ENGINE_UNAVAILABLE',
    'the container engine is reached over TCP, but its containers need Unix sockets of this machine; set DOCKER_HOST to a unix:// engine',
  );
}

async function observe(backend: DockerBackend, ends: AttemptEnds, signal: AbortSignal): Promise<void> {
  for await (const observation of backend.observe(signal)) {
    if (observation.kind === 'ended') ends.ended(observation, observation.exit);
  }
}
