import { createHash } from 'node:crypto';
import pg from 'pg';
import { WormholeError } from './errors.ts';
import { DeadLetters, type DeadLetter } from './intake/dead-letters.ts';
import { Door, type SubmitOptions } from './intake/door.ts';
import type { Submitted, SubmitRequest } from './intake/submit.ts';
import { storedCredentialsSchema, type StoredCredentials } from './model/connection.ts';
import type { RunId, TenantId } from './model/ids.ts';
import { isTerminal, type RunStatus } from './model/run-status.ts';
import type { Tenant } from './model/tenant.ts';
import { workflowKeySchema } from './model/workflow-definition.ts';
import { DEAD_LETTER_QUEUE } from './queue/names.ts';
import { openQueueServer, type QueueServer } from './queue/queue-server.ts';
import { KeyRing } from './secrets/cipher.ts';
import { sealCredentials } from './secrets/sealed.ts';
import {
  deleteConnection,
  listConnections,
  upsertConnection,
  type ConnectionSummary,
} from './store/connections.ts';
import { transaction } from './store/database.ts';
import { declaredChanges, type Declared, type DeclaredChanges } from './store/declared-changes.ts';
import { openLogStore } from './store/logs/open.ts';
import type { LogPage, LogStore } from './store/logs/types.ts';
import { Notifications, waitForRun, type RunChange } from './store/notifications.ts';
import { requestCancel } from './store/run-transitions.ts';
import { findRun, findStatus, listRuns, type RunDetail, type RunSummary } from './store/runs.ts';
import {
  declaredTenants,
  getPlatformLimits,
  getTenant,
  listTenants,
  setPaused,
  setPlatformLimits,
  upsertTenant,
  type TenantUsage,
} from './store/tenants.ts';

/** Where the platform's servers are. */
export interface ClientOptions {
  readonly databaseUrl: string;
  /** The queue's Redis; unset: the queue lives in PostgreSQL. */
  readonly redisUrl?: string | undefined;
  /** The logs' MongoDB; unset: they are in PostgreSQL. */
  readonly mongodbUrl?: string | undefined;
  /**
   * The key ring that seals connections, as text: `id:base64`, the primary first.
   * @default - none: this client stores no connections
   */
  readonly encryptionKeys?: string | undefined;
  /** Told of lost connections, which are made again. @default - nothing is told */
  readonly onError?: (error: Error) => void;
}

/** A producer needs no workers, so few connections do. */
const QUEUE_CONNECTIONS = 4;
const POOL_CONNECTIONS = 8;

/** Connects to a platform that runs, from any process. @throws when PostgreSQL cannot be reached. */
export async function connectClient(options: ClientOptions): Promise<Client> {
  const onError = options.onError ?? (() => undefined);
  const pool = new pg.Pool({ connectionString: options.databaseUrl, max: POOL_CONNECTIONS });
  pool.on('error', onError);
  const notifications = new Notifications(options.databaseUrl, onError);
  try {
    await notifications.start();
    const server = openQueueServer({ ...options, maxConnections: QUEUE_CONNECTIONS, onError });
    const logs = await openLogStore({ pool, mongodbUrl: options.mongodbUrl });
    const client = new Client({
      pool,
      notifications,
      server,
      logs,
      keys: options.encryptionKeys === undefined ? undefined : KeyRing.parse(options.encryptionKeys),
    });
    client.onClose(async () => {
      await logs.close();
      await server.close();
      await notifications.close();
      await pool.end();
    });
    return client;
  } catch (error) {
    await notifications.close();
    await pool.end();
    throw error;
  }
}

/** What a client works with; it closes none of it. */
export interface ClientParts {
  readonly pool: pg.Pool;
  readonly notifications: Notifications;
  readonly server: QueueServer;
  readonly logs: LogStore;
  /** Undefined: connections cannot be stored. */
  readonly keys: KeyRing | undefined;
}

/** The producer library: tenants, connections, and runs from submission to their logs. */
export class Client {
  readonly #parts: ClientParts;
  readonly #door: Door;
  readonly #deadLetters: DeadLetters;
  #onClose: () => Promise<void> = () => Promise.resolve();

  constructor(parts: ClientParts) {
    this.#parts = parts;
    this.#door = new Door(parts.pool, parts.notifications);
    this.#deadLetters = new DeadLetters(parts.server);
  }

  /** What `close` does. */
  onClose(work: () => Promise<void>): void {
    this.#onClose = work;
  }

  /** Creates tenants, or gives them these settings from now on. All or none. */
  async applyTenants(tenants: readonly Tenant[]): Promise<void> {
    await transaction(this.#parts.pool, async (db) => {
      for (const tenant of tenants) await upsertTenant(db, tenant);
    });
  }

  /**
   * Brings what is declared into force: tenants and what holds for all of them, all or nothing. Controllers follow at
   * once. Tenants that are not declared stay as they are, paused ones stay paused.
   * @param options.dryRun changes nothing.
   * @returns what it changed, or would.
   */
  async applyDeclared(
    declared: Declared,
    options: { readonly dryRun?: boolean | undefined } = {},
  ): Promise<DeclaredChanges> {
    return await transaction(this.#parts.pool, async (db) => {
      const tenants = await declaredTenants(db);
      const changes = declaredChanges(declared, { tenants, limits: await getPlatformLimits(db) });
      if (options.dryRun === true) return changes;
      if (changes.platform.length > 0) await setPlatformLimits(db, declared.limits);
      const written = [...changes.added, ...changes.changed.map(({ tenant }) => tenant)];
      for (const tenant of written) await upsertTenant(db, tenant);
      return changes;
    });
  }

  /**
   * Stops or resumes the start of the tenant's runs; live ones go on, new ones are queued.
   * @throws {WormholeError} TENANT_NOT_FOUND.
   */
  async setPaused(tenantId: TenantId, paused: boolean): Promise<void> {
    await setPaused(this.#parts.pool, tenantId, paused);
  }

  /** @returns all tenants with their settings and how much of them is in use. */
  async tenants(): Promise<TenantUsage[]> {
    return await listTenants(this.#parts.pool);
  }

  /**
   * Stores credentials, encrypted, under a key that the tenant's workflows name.
   * @throws {WormholeError} TENANT_NOT_FOUND; ENCRYPTION_KEY_INVALID; PAYLOAD_INVALID for credentials that are none, without
   *   their values.
   */
  async putConnection(tenantId: TenantId, key: string, credentials: StoredCredentials): Promise<void> {
    if (!workflowKeySchema.safeParse(key).success) {
      throw new WormholeError(
        'PAYLOAD_INVALID',
        `connection key ${JSON.stringify(key.slice(0, 80))} must be a letter, then up to 62 letters, digits, "_" or "-"`,
      );
    }
    const parsed = storedCredentialsSchema.safeParse(credentials);
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      const where = issue?.path.join('.') || 'the document';
      throw new WormholeError(
        'PAYLOAD_INVALID',
        `connection "${key}": ${where}: ${issue?.message ?? 'is wrong'}`,
      );
    }
    await getTenant(this.#parts.pool, tenantId);
    const { keys } = this.#parts;
    if (keys === undefined) {
      throw new WormholeError(
        'ENCRYPTION_KEY_INVALID',
        'this client was connected without encryptionKeys: give it those of the platform, which has to open what is sealed here',
      );
    }
    const sealed = sealCredentials(keys, { tenantId, key }, parsed.data);
    await upsertConnection(this.#parts.pool, tenantId, { key, kind: parsed.data.kind, sealed });
  }

  /** @returns the tenant's connections, without their credentials. */
  async connections(tenantId: TenantId): Promise<ConnectionSummary[]> {
    await getTenant(this.#parts.pool, tenantId);
    return await listConnections(this.#parts.pool, tenantId);
  }

  /** @throws {WormholeError} CONNECTION_NOT_FOUND. */
  async removeConnection(tenantId: TenantId, key: string): Promise<void> {
    if (!(await deleteConnection(this.#parts.pool, tenantId, key))) {
      throw new WormholeError('CONNECTION_NOT_FOUND', `tenant "${tenantId}" has no connection "${key}"`);
    }
  }

  /**
   * Records the run as QUEUED, which is all that it takes to have it run.
   * @throws {WormholeError} what the request is refused with; QUEUE_FULL, with a retry hint, when there is no place in the tenant's
   *   queue, or none in time; the signal's reason.
   */
  async submit(request: SubmitRequest, options?: SubmitOptions): Promise<Submitted> {
    return await this.#door.submit(request, options);
  }

  /** Submits the run's workflow version and input again, as a new run. @throws {WormholeError} RUN_NOT_FOUND and what `submit` throws. */
  async rerun(
    runId: RunId,
    options: SubmitOptions & { readonly idempotencyKey?: string } = {},
  ): Promise<Submitted> {
    const { tenantId, workflowVersionId, input } = await this.run(runId);
    const { idempotencyKey, ...waiting } = options;
    return await this.submit({ tenantId, workflowVersionId, input, idempotencyKey, rerunOf: runId }, waiting);
  }

  /** @returns what could not be processed, newest first; at most 100 unless told otherwise. */
  async deadLetters(
    filter: { readonly tenantId?: TenantId | undefined; readonly limit?: number | undefined } = {},
  ): Promise<DeadLetter[]> {
    return await this.#deadLetters.list({ ...filter, limit: filter.limit ?? 100 });
  }

  /** @throws {WormholeError} DEAD_LETTER_NOT_FOUND. */
  async deadLetter(id: string): Promise<DeadLetter> {
    const letter = await this.#deadLetters.find(id);
    if (letter === undefined) throw noDeadLetter(id);
    return letter;
  }

  /**
   * Submits what the letter is about as a new run, and drops the letter. Retried twice at once, it is one run.
   * @throws {WormholeError} DEAD_LETTER_NOT_FOUND; DEAD_LETTER_FINAL for a job that had an input, which is not kept; and
   *   what `submit` throws: the letter stays then.
   */
  async retryDeadLetter(id: string, options?: SubmitOptions): Promise<Submitted> {
    const { kind, runId, reference } = await this.deadLetter(id);
    const idempotencyKey = `${DEAD_LETTER_QUEUE}/${createHash('sha256').update(id).digest('hex')}`;
    let submitted: Submitted;
    if (kind === 'run' && runId !== null) {
      submitted = await this.rerun(runId, { idempotencyKey, ...options });
    } else if (reference !== null) {
      submitted = await this.submit({ idempotencyKey, ...reference, input: {} }, options);
    } else {
      throw new WormholeError(
        'DEAD_LETTER_FINAL',
        `dead letter "${id}" is of a job whose input was not kept, because it may hold secrets: let its producer add a corrected one, and drop the letter`,
      );
    }
    await this.#deadLetters.remove(id);
    return submitted;
  }

  /** @throws {WormholeError} DEAD_LETTER_NOT_FOUND. */
  async dropDeadLetter(id: string): Promise<void> {
    if (!(await this.#deadLetters.remove(id))) throw noDeadLetter(id);
  }

  /** @throws {WormholeError} RUN_NOT_FOUND. */
  async run(runId: RunId): Promise<RunDetail> {
    const run = await findRun(this.#parts.pool, runId);
    if (run === undefined) throw notFound(runId);
    return run;
  }

  /** @returns runs, newest first; at most 100 unless told otherwise. */
  async runs(filter: {
    readonly tenantId?: TenantId | undefined;
    readonly status?: RunStatus | undefined;
    readonly limit?: number | undefined;
  }): Promise<RunSummary[]> {
    return await listRuns(this.#parts.pool, filter);
  }

  /**
   * Asks for the run's cancellation: at once if it is QUEUED, otherwise when its container has ended.
   * @throws {WormholeError} RUN_NOT_FOUND, RUN_ALREADY_ENDED.
   */
  async cancel(runId: RunId): Promise<void> {
    const before = await findRun(this.#parts.pool, runId);
    if (before === undefined) throw notFound(runId);
    if (isTerminal(before.status)) {
      throw new WormholeError('RUN_ALREADY_ENDED', `run ${runId} has ended as ${before.status}`);
    }
    await requestCancel(this.#parts.pool, runId);
  }

  /** Reads the run's log, page by page. @throws {WormholeError} RUN_NOT_FOUND. */
  async logs(
    runId: RunId,
    options: { readonly after?: string | undefined; readonly limit?: number | undefined } = {},
  ): Promise<LogPage> {
    const { tenantId } = await this.run(runId);
    return await this.#parts.logs.read({
      tenantId,
      runId,
      ...(options.after !== undefined && { after: options.after }),
      ...(options.limit !== undefined && { limit: options.limit }),
    });
  }

  /** Streams what changes about any run until `signal` aborts. */
  changes(signal: AbortSignal): AsyncIterable<RunChange> {
    return this.#parts.notifications.changes(signal);
  }

  /** Resolves with the run when it has ended. @throws {WormholeError} RUN_NOT_FOUND; the signal's reason. */
  async waitFor(runId: RunId, signal: AbortSignal = new AbortController().signal): Promise<RunDetail> {
    const look = async (): Promise<true | undefined> => {
      const status = await findStatus(this.#parts.pool, runId);
      if (status === undefined) throw notFound(runId);
      return isTerminal(status) ? true : undefined;
    };
    await waitForRun(this.#parts.notifications, runId, look, signal);
    return await this.run(runId);
  }

  /** Closes what the client opened. */
  async close(): Promise<void> {
    this.#door.close();
    await this.#deadLetters.close();
    await this.#onClose();
  }
}

const noDeadLetter = (id: string): WormholeError =>
  new WormholeError(
    'DEAD_LETTER_NOT_FOUND',
    `there is no dead letter "${id.slice(0, 300)}"; "wormhole dlq ls" lists them`,
  );

const notFound = (runId: RunId): WormholeError =>
  new WormholeError('RUN_NOT_FOUND', `run ${runId} does not exist; "wormhole ls" shows the newest ones`);
