import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { messageOf } from '../../controller/errors.ts';
import { killProcess, processesWith } from './process-tree.ts';
import type { Random } from './random.ts';
import type { Sampler } from './sampler.ts';
import type { FaultKind } from './schedule.ts';
import { within } from './within.ts';
import type { World } from './world.ts';

const CALL_MS = 5_000;
const SHORTEST_DOWN_MS = 50;
const LONGEST_DOWN_MS = 3_000;
/** How long a leader is stopped: far longer than a standby takes to notice that the lead is free. */
const FROZEN_MS = 12_000;
/** How far into it the frozen leader's session is ended, sometimes: then another takes the lead while it sleeps. */
const SESSION_ENDED_AFTER_MS = 2_000;

/** A time in which a leader was stopped: what it had in hand may go on when it wakes up. */
export interface Frozen {
  readonly from: Date;
  readonly to: Date;
}

export interface FaultsOptions {
  readonly world: World;
  readonly sampler: Sampler;
  readonly random: Random;
  readonly onFlush: () => void;
  readonly log: (message: string) => void;
}

/** Does each kind of fault, and sees to it that what was killed comes back. */
export class Faults {
  readonly frozen: Frozen[] = [];
  /** `<run>-<attempt>` of the containers that were killed. */
  readonly killed = new Set<string>();
  readonly #options: FaultsOptions;
  readonly #down = new Set<'postgres' | 'redis' | 'engine'>();
  readonly #hurry = new AbortController();
  readonly #recoveries = new Set<Promise<void>>();

  constructor(options: FaultsOptions) {
    this.#options = options;
  }

  /** @returns whether it was done: false when there is nothing to hit now. */
  async strike(kind: FaultKind): Promise<boolean> {
    try {
      return await this.#strike(kind);
    } catch (error) {
      this.#options.log(`${kind}: ${messageOf(error)}`);
      return false;
    }
  }

  async #strike(kind: FaultKind): Promise<boolean> {
    const { world, random, sampler, onFlush } = this.#options;
    const { controllers, redis, engine, postgres } = world;
    switch (kind) {
      case 'run-container':
        return await this.#killContainer();
      case 'leader':
        return controllers.killLeader();
      case 'standby':
        return controllers.standby?.signal('SIGKILL') === true;
      case 'watchdog':
        return this.#killOneOf(processesWith('watchdog/main.ts', engine.socketPath));
      case 'postgres-backend':
        return this.#killOneOf(await this.#query<number>(CLIENTS));
      case 'connection-cut':
        return (await this.#query(random.chance(0.5) ? END_LEADS_SESSION : END_ANY_SESSION)).length > 0;
      case 'postmaster':
        return await this.#outage(
          'postgres',
          () => postgres.kill(),
          () => postgres.up(),
        );
      case 'redis':
        return await this.#outage(
          'redis',
          () => redis.kill(),
          () => redis.up(),
        );
      case 'redis-flushed':
        if (this.#down.has('redis')) return false;
        await redis.flush();
        onFlush();
        return true;
      case 'engine':
        return await this.#outage(
          'engine',
          () => engine.down('SIGKILL'),
          () => engine.up({ liveRestore: true }),
        );
      case 'engine-and-containers':
        for (const { attempt } of sampler.live) this.killed.add(attempt);
        // Started without live restore, an engine ends what it finds alive.
        return await this.#outage(
          'engine',
          () => engine.down('SIGKILL'),
          () => engine.up(),
        );
      case 'leader-frozen':
        return this.#freeze();
    }
  }

  #killOneOf(pids: readonly number[]): boolean {
    const pid = this.#options.random.pick(pids);
    return pid !== undefined && killProcess(pid);
  }

  async #killContainer(): Promise<boolean> {
    const { random, sampler, world } = this.#options;
    const one = random.pick(sampler.live);
    if (one === undefined) return false;
    const container = world.engine.docker.getContainer(one.containerId);
    const { State } = await within(CALL_MS, 'inspecting', container.inspect());
    if (!State.Running || State.Pid === 0 || !killProcess(State.Pid)) return false;
    this.killed.add(one.attempt);
    return true;
  }

  async #query<T>(text: string): Promise<T[]> {
    const { url } = this.#options.world.postgres;
    const client = new pg.Client({ connectionString: url, query_timeout: CALL_MS });
    client.on('error', () => undefined);
    try {
      await client.connect();
      return (await client.query<{ value: T }>(text)).rows.map(({ value }) => value);
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  /** Kills a server, and starts it again a moment later. */
  async #outage(
    server: 'postgres' | 'redis' | 'engine',
    kill: () => Promise<void>,
    up: () => Promise<void>,
  ): Promise<boolean> {
    if (this.#down.has(server)) return false;
    this.#down.add(server);
    const downMs = this.#options.random.between(SHORTEST_DOWN_MS, LONGEST_DOWN_MS);
    await kill();
    this.#later(async () => {
      await this.#pause(downMs);
      await up();
      this.#down.delete(server);
    });
    return true;
  }

  #freeze(): boolean {
    const { controllers } = this.#options.world;
    const { leader } = controllers;
    if (leader?.signal('SIGSTOP') !== true) return false;
    const from = new Date();
    const endsSession = this.#options.random.chance(0.5);
    this.#later(async () => {
      await this.#pause(SESSION_ENDED_AFTER_MS);
      if (endsSession) await this.#query(END_LEADS_SESSION).catch(() => undefined);
      await this.#pause(FROZEN_MS - SESSION_ENDED_AFTER_MS);
      leader.signal('SIGCONT');
      this.frozen.push({ from, to: new Date() });
    });
    return true;
  }

  #later(work: () => Promise<void>): void {
    const running = work();
    this.#recoveries.add(running);
    // One that failed stays: whoever waits for all is told.
    running.then(
      () => this.#recoveries.delete(running),
      (error: unknown) => this.#options.log(`it does not come back: ${messageOf(error)}`),
    );
  }

  /** Passes at once when there is no time left. */
  async #pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#hurry.signal }).catch(() => undefined);
  }

  /** Resolves when everything that was killed is up again. @throws when something did not come back. */
  async recovered(): Promise<void> {
    await Promise.all(this.#recoveries);
  }

  /** Brings back at once what is down, so that it can be stopped. */
  async close(): Promise<void> {
    this.#hurry.abort();
    await Promise.allSettled(this.#recoveries);
  }
}

const CLIENTS = `SELECT pid AS value FROM pg_stat_activity
  WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`;
const END_ANY_SESSION = `SELECT pg_terminate_backend(value) AS value FROM (${CLIENTS} ORDER BY random() LIMIT 1) AS one`;
/** Whoever holds a session lock for a while is a leader. */
const END_LEADS_SESSION = `SELECT pg_terminate_backend(pid) AS value FROM pg_locks
  WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid() ORDER BY pid LIMIT 1`;
