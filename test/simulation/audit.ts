import type { AttemptSpec } from '../../controller/backends/types.ts';
import { PASSED_OVER_AT_MOST } from '../../controller/dispatch/scheduler.ts';
import { attemptName, type AttemptRef, type RunId, type TenantId } from '../../controller/model/ids.ts';
import { isTerminal, type RunStatus } from '../../controller/model/run-status.ts';
import type { StartRate } from '../../controller/model/tenant.ts';
import type { RunChange } from '../../controller/store/notifications.ts';
import { short } from './container.ts';
import type { ModelTenant } from './model-store.ts';
import type { PlatformLimits } from '../../controller/store/tenants.ts';
import { LONGEST_WAY_MS } from './wire.ts';
import type { World } from './world.ts';

/** A changed rate is known to dispatch, and to its log of starts, after this long at the latest. */
const RATE_KNOWN_MS = 20_000;
/** So many looks at the demand a second need no reason; each change gives reason for a few more. */
const LOOKS_A_SECOND = 60;
const LOOKS_A_CHANGE = 4;

/** What was started under one rate, the platform's or a tenant's. */
interface Rated {
  readonly rate: StartRate | undefined;
  readonly sinceMs: number;
  startsAtMs: number[];
}

/**
 * Holds what happens to what is promised. It counts for itself, from what changed, and believes no count of the record or
 * of dispatch.
 */
export class Audit {
  readonly #world: World;
  readonly #tenants = new Map<TenantId, ModelTenant>();
  #platform: PlatformLimits = { maxConcurrent: 0, startRate: undefined };
  readonly #holders = new Map<RunId, TenantId>();
  readonly #admitted = new Set<string>();
  readonly #executions = new Map<RunId, number[]>();
  readonly #ended = new Set<RunId>();
  readonly #rates = new Map<TenantId | 'platform', Rated>();
  /** How many starts of others a tenant that holds no slot has seen since it could have one. */
  readonly #waited = new Map<TenantId, number>();
  readonly #looks = new Map<string, number>();
  readonly #changes = new Map<number, number>();
  #besideUntilMs = -Infinity;
  #violation: string | undefined;

  constructor(world: World) {
    this.#world = world;
  }

  /** The first promise that was broken. */
  get violation(): string | undefined {
    return this.#violation;
  }

  /** From now on these are the platform's limits. */
  platformIs(limits: PlatformLimits): void {
    this.#platform = limits;
    this.#rateIs('platform', limits.startRate);
  }

  /** From now on this is what the tenant may have. */
  tenantIs(tenant: ModelTenant): void {
    this.#tenants.set(tenant.tenantId, tenant);
    this.#rateIs(tenant.tenantId, tenant.startRate);
  }

  /** Slots, their caps and rates, attempts and ends: told of every change of a run, when it is committed. */
  changed({ runId, tenantId, attempt, status }: RunChange, from: RunStatus | undefined): void {
    const second = this.#second();
    this.#changes.set(second, (this.#changes.get(second) ?? 0) + 1);
    if (from !== undefined && isTerminal(from) && status !== from) {
      this.fail(`run ${short({ runId, attempt })} had ended as ${from}, and is ${status}`);
    }
    if (status === from) return;
    switch (status) {
      case 'QUEUED':
        this.#holders.delete(runId);
        break;
      case 'STARTING':
        this.#started({ runId, attempt }, tenantId);
        break;
      case 'RUNNING':
        break;
      default:
        this.#holders.delete(runId);
        if (this.#ended.has(runId)) this.fail(`run ${short({ runId, attempt })} ended twice`);
        this.#ended.add(runId);
    }
  }

  #started(ref: AttemptRef, tenantId: TenantId): void {
    const { scenario } = this.#world;
    this.#holders.set(ref.runId, tenantId);
    this.#admitted.add(attemptName(ref));
    const tenant = this.#tenants.get(tenantId)!;
    const [all, own] = [this.#holders.size, this.#slotsOf(tenantId)];
    if (own > tenant.maxConcurrent) {
      this.fail(`${tenantId} holds ${own} slots, over its cap of ${tenant.maxConcurrent}`);
    }
    if (all > this.#platform.maxConcurrent) {
      this.fail(`${all} slots are held, over the global cap of ${this.#platform.maxConcurrent}`);
    }
    if (tenant.paused) this.fail(`run ${short(ref)} of ${tenantId} started while the tenant was paused`);
    if (ref.attempt > scenario.policy.attempts) {
      this.fail(`run ${short(ref)} is more than the ${scenario.policy.attempts} attempts of the policy`);
    }
    this.#checkRate('platform');
    this.#checkRate(tenantId);
    if (scenario.faultsUntilMs === 0) this.#checkFairness(tenant);
  }

  #rateIs(whose: TenantId | 'platform', rate: StartRate | undefined): void {
    const before = this.#rates.get(whose);
    if (before?.rate?.max === rate?.max && before?.rate?.durationMs === rate?.durationMs && before) return;
    const sinceMs = before === undefined ? -Infinity : this.#world.time.nowMs + RATE_KNOWN_MS;
    this.#rates.set(whose, { rate, sinceMs, startsAtMs: [] });
  }

  #slotsOf(tenantId: TenantId): number {
    return [...this.#holders.values()].filter((holder) => holder === tenantId).length;
  }

  /**
   * At most `max` starts within any `durationMs`, less what a question may be on its way. Not while two controllers were at
   * work, nor until a rate that was changed is known.
   */
  #checkRate(whose: TenantId | 'platform'): void {
    const now = this.#world.time.nowMs;
    const rated = this.#rates.get(whose)!;
    const { rate } = rated;
    if (rate === undefined) return;
    const fromMs = Math.max(rated.sinceMs, this.#besideUntilMs, now - rate.durationMs + LONGEST_WAY_MS);
    rated.startsAtMs = [...rated.startsAtMs, now].filter((atMs) => atMs > fromMs);
    if (rated.startsAtMs.length > rate.max) {
      this.fail(
        `${whose} had ${rated.startsAtMs.length} starts within ${rate.durationMs} ms, over its rate of ${rate.max}`,
      );
    }
  }

  /** Whoever holds no slot, and could, has its turn before the others have had theirs twice. */
  #checkFairness(served: ModelTenant): void {
    const { store, time } = this.#world;
    this.#waited.delete(served.tenantId);
    const wanting = store
      .readDemand()
      .tenants.filter(({ tenantId, due, slots }) => tenantId !== served.tenantId && due > 0 && slots === 0);
    const names = new Set(wanting.map(({ tenantId }) => tenantId));
    for (const tenantId of this.#waited.keys()) if (!names.has(tenantId)) this.#waited.delete(tenantId);
    const all = [...this.#tenants.values()];
    const classes = new Set(all.map(({ priority }) => priority)).size;
    for (const { tenantId, weight } of wanting) {
      const waited = (this.#waited.get(tenantId) ?? 0) + 1;
      this.#waited.set(tenantId, waited);
      const turn = all.reduce((sum, other) => sum + Math.ceil(other.weight / weight), 0);
      const turns = 2 * turn * (classes === 1 ? 1 : 1 + PASSED_OVER_AT_MOST * (classes - 1));
      // What was decided before it came is one round at most, and no more than fits.
      const bound = turns + this.#platform.maxConcurrent;
      if (waited > bound) this.fail(`${tenantId} has waited for ${waited} slots, at ${time.nowMs} ms`);
    }
  }

  /** A payload was handed out. */
  claimed({ runId, attempt }: AttemptRef): void {
    const before = this.#executions.get(runId) ?? [];
    this.#executions.set(runId, [...before, attempt]);
    if (before.includes(attempt))
      this.fail(`the payload of ${short({ runId, attempt })} was handed out twice`);
    if (before.length > 0 && !this.#world.store.runs.get(runId)!.retryAfterClaim) {
      this.fail(`run ${short({ runId, attempt })} is executed again, after attempt ${before.join()}`);
    }
  }

  /** A start has arrived at the engine. */
  startAsked(spec: AttemptSpec): void {
    if (!this.#admitted.has(attemptName(spec))) {
      this.fail(`container ${short(spec)} is started, and was never admitted`);
    }
  }

  /** Two controllers are at work until then. */
  besideEachOther(untilMs: number): void {
    this.#besideUntilMs = Math.max(this.#besideUntilMs, untilMs + LONGEST_WAY_MS);
  }

  /** A process has asked the record. */
  asked(process: string, what: string): void {
    if (what !== 'readDemand' && what !== 'admitRuns') return;
    const second = this.#second();
    const key = `${process} ${second}`;
    const looks = (this.#looks.get(key) ?? 0) + 1;
    this.#looks.set(key, looks);
    const changes = (this.#changes.get(second) ?? 0) + (this.#changes.get(second - 1) ?? 0);
    if (looks > LOOKS_A_SECOND + LOOKS_A_CHANGE * changes) {
      this.fail(
        `${process} spins: it looked ${looks} times in second ${second}, in which ${changes} runs changed`,
      );
    }
  }

  #second(): number {
    return Math.floor(this.#world.time.nowMs / 1000);
  }

  /** Nothing is lost and nothing left, when all had time to end. */
  atEnd(): void {
    const { store, engine } = this.#world;
    for (const { id, attempt, status } of store.runs.values()) {
      if (!this.#ended.has(id))
        this.fail(`run ${short({ runId: id, attempt })} never ended: it is ${status}`);
    }
    for (const { spec } of engine.containers.values()) this.fail(`container ${short(spec)} is left over`);
  }

  /** Something that was promised does not hold. */
  fail(what: string): void {
    this.#world.trace(`VIOLATION: ${what}`);
    this.#violation ??= what;
  }
}
