import type { TenantId } from '../model/ids.ts';
import type { Reason } from '../model/reasons.ts';
import { PRIORITIES, type Priority } from '../model/tenant.ts';
import type { Demand, TenantDemand } from './demand.ts';
import { Pressure } from './pressure.ts';
import { StartLog } from './start-log.ts';

/** So many starts in a row may go to higher classes while a lower one could start a run; the next is the lower one's. */
export const PASSED_OVER_AT_MOST = 8;

/** Why a start was refused, or failed before its claim. */
export interface Refusal {
  readonly tenantId: TenantId;
  readonly reason: Reason;
  /** When the attempt was admitted, on the scheduler's clock. */
  readonly admittedAtMs: number;
  readonly retryAfterMs?: number | undefined;
}

/** Who has to slow down when a start fails for this reason: the tenant that causes it, or everybody. */
const CAUSED_BY: Partial<Record<Reason, 'tenant' | 'platform'>> = {
  QUOTA_EXCEEDED: 'tenant',
  ADMISSION_DENIED: 'tenant',
  UNSCHEDULABLE: 'tenant',
  CLAIM_TIMEOUT: 'tenant',
  IMAGE_PULL_FAILED: 'platform',
  NODE_LOST: 'platform',
  RUNNER_LOST: 'platform',
};

/** What the scheduler keeps of a tenant that has work. */
interface Share {
  demand: TenantDemand;
  slots: number;
  starting: number;
  due: number;
  /** When a postponed run of it is due; infinite: none is postponed. */
  dueAtMs: number;
  /**
   * Grows by 1/weight with every start: among tenants with as many slots the one that lags behind is next. While it can
   * start nothing it grows with the others': absence earns nothing.
   */
  servedTo: number;
}

/** A tenant's turns, as they were decided. */
export interface Pick {
  readonly tenantId: TenantId;
  readonly runs: number;
}

/**
 * Decides whose run is started next. Pure: it knows what it was told, and the time that it is given.
 *
 * Priority classes come first, with a bound (`PASSED_OVER_AT_MOST`). Within a class slots are shared max-min fair by weight: the
 * next one is for the tenant with the fewest slots per weight. A tenant is passed by while it is paused, at its cap,
 * at its start rate, or while its own starts are refused (`Pressure`).
 */
export class Scheduler {
  readonly #tenants = new Map<TenantId, Share>();
  readonly #tenantPressure = new Map<TenantId, Pressure>();
  readonly #platformPressure = new Pressure();
  readonly #tenantStarts = new Map<TenantId, StartLog>();
  readonly #platformStarts = new StartLog();
  readonly #passedOver = new Map<Priority, number>();
  #platform: Omit<Demand, 'tenants'> = { maxConcurrent: 0, startRate: undefined, slots: 0, starting: 0 };
  #slots = 0;
  #starting = 0;
  /** How far anybody had been served who got a turn. Who comes back starts here. */
  #servedTo = 0;

  /**
   * Takes over what PostgreSQL says.
   * @param asked the tenants that it was asked about: of these, those that are not in the answer have no work. Undefined: all.
   */
  learn(demand: Demand, nowMs: number, asked?: Iterable<TenantId>): void {
    const { tenants, ...platform } = demand;
    this.#platform = platform;
    this.#slots = platform.slots;
    this.#starting = platform.starting;
    const known = new Set(tenants.map(({ tenantId }) => tenantId));
    for (const tenantId of asked ?? [...this.#tenants.keys()]) {
      if (!known.has(tenantId)) this.#tenants.delete(tenantId);
    }
    for (const tenant of tenants) {
      this.#tenants.set(tenant.tenantId, {
        demand: tenant,
        slots: tenant.slots,
        starting: tenant.starting,
        due: tenant.due,
        dueAtMs: tenant.dueInMs === null ? Infinity : nowMs + tenant.dueInMs,
        servedTo: this.#tenants.get(tenant.tenantId)?.servedTo ?? this.#servedTo,
      });
    }
  }

  /** @returns the tenants of whom a postponed run is due by now, as far as is known. */
  overdue(nowMs: number): TenantId[] {
    return [...this.#tenants].flatMap(([tenantId, { dueAtMs }]) => (dueAtMs <= nowMs ? [tenantId] : []));
  }

  /** Starts that a leader before made, so that rates hold across a change of lead. */
  remember(starts: Iterable<{ readonly tenantId: TenantId; readonly atMs: number }>): void {
    for (const { tenantId, atMs } of starts) {
      this.#platformStarts.started(atMs);
      // Also of a tenant without work: it may have some soon.
      this.#startsOf(tenantId).started(atMs);
    }
  }

  /** @returns whose runs are to be started now, in this order, at most `atMost` of them; counted as started. */
  pick(nowMs: number, atMost: number): Pick[] {
    const runs = new Map<TenantId, number>();
    for (let picked = 0; picked < atMost; picked += 1) {
      const next = this.#next(nowMs);
      if (next === undefined) break;
      this.#serve(next, nowMs);
      const { tenantId } = next.demand;
      runs.set(tenantId, (runs.get(tenantId) ?? 0) + 1);
    }
    return [...runs].map(([tenantId, count]) => ({ tenantId, runs: count }));
  }

  /** @returns how long until time alone lets something start, in ms; 0: now; infinite: when only news can. */
  waitMs(nowMs: number): number {
    let leastMs = Infinity;
    for (const share of this.#tenants.values()) leastMs = Math.min(leastMs, this.#tenantWaitMs(share, nowMs));
    return Math.max(this.#platformWaitMs(nowMs), leastMs);
  }

  #platformWaitMs(nowMs: number): number {
    if (this.#slots >= this.#platform.maxConcurrent) return Infinity;
    return Math.max(
      this.#platformPressure.waitMs(this.#starting, nowMs),
      this.#platformStarts.waitMs(this.#platform.startRate, nowMs),
    );
  }

  #tenantWaitMs({ demand, slots, starting, due, dueAtMs }: Share, nowMs: number): number {
    if (demand.paused || slots >= demand.maxConcurrent) return Infinity;
    if (due === 0 && dueAtMs === Infinity) return Infinity;
    return Math.max(
      due > 0 ? 0 : dueAtMs - nowMs,
      this.#tenantPressure.get(demand.tenantId)?.waitMs(starting, nowMs) ?? 0,
      this.#tenantStarts.get(demand.tenantId)?.waitMs(demand.startRate, nowMs) ?? 0,
    );
  }

  /** An attempt was claimed: who was held back may go a little faster. */
  claimed(tenantId: TenantId, admittedAtMs: number): void {
    const pressure = this.#tenantPressure.get(tenantId);
    pressure?.succeeded(admittedAtMs, this.#tenants.get(tenantId)?.demand.maxConcurrent ?? 1);
    if (pressure?.isOn === false) this.#tenantPressure.delete(tenantId);
    this.#platformPressure.succeeded(admittedAtMs, this.#platform.maxConcurrent);
  }

  /** A start was refused: whoever caused it slows down. @returns who that is. */
  refused(refusal: Refusal, nowMs: number): 'tenant' | 'platform' | undefined {
    const { tenantId, reason, admittedAtMs, retryAfterMs } = refusal;
    const causedBy = CAUSED_BY[reason];
    if (causedBy === 'platform') {
      this.#platformPressure.refused(Math.max(1, this.#starting), admittedAtMs, nowMs, retryAfterMs);
    } else if (causedBy === 'tenant') {
      const pressure = this.#tenantPressure.get(tenantId) ?? new Pressure();
      this.#tenantPressure.set(tenantId, pressure);
      const starting = this.#tenants.get(tenantId)?.starting ?? 0;
      pressure.refused(Math.max(1, starting), admittedAtMs, nowMs, retryAfterMs);
    }
    return causedBy;
  }

  /** @returns whether news of claims of this tenant's attempts matter now. */
  isPressed(tenantId: TenantId): boolean {
    return this.#platformPressure.isOn || this.#tenantPressure.has(tenantId);
  }

  /** @returns who is held back by refused starts, and how: for metrics. */
  pressure(nowMs: number): {
    readonly platform: { readonly window: number; readonly heldMs: number };
    readonly tenants: readonly {
      readonly tenantId: TenantId;
      readonly window: number;
      readonly heldMs: number;
    }[];
  } {
    const of = (pressure: Pressure) => ({ window: pressure.window, heldMs: pressure.heldMs(nowMs) });
    return {
      platform: of(this.#platformPressure),
      tenants: [...this.#tenantPressure].map(([tenantId, pressure]) => ({ tenantId, ...of(pressure) })),
    };
  }

  #next(nowMs: number): Share | undefined {
    if (this.#platformWaitMs(nowMs) > 0) return undefined;
    const first = new Map<Priority, Share>();
    for (const share of this.#tenants.values()) {
      if (share.due === 0 || this.#tenantWaitMs(share, nowMs) > 0) {
        // Who is at its cap uses what it was given, and may lag a little.
        const lag = share.slots < share.demand.maxConcurrent ? 0 : 1;
        share.servedTo = Math.max(share.servedTo, this.#servedTo - lag);
        continue;
      }
      const { priority } = share.demand;
      const rival = first.get(priority);
      if (rival === undefined || isBefore(share, rival)) first.set(priority, share);
    }
    const waiting = PRIORITIES.filter((priority) => first.has(priority));
    const served = this.#overdueOf(waiting) ?? waiting[0];
    if (served === undefined) return undefined;
    for (const priority of PRIORITIES) {
      const passedOver = waiting.includes(priority) && priority !== served;
      this.#passedOver.set(priority, passedOver ? (this.#passedOver.get(priority) ?? 0) + 1 : 0);
    }
    return first.get(served);
  }

  /**
   * @param waiting classes that could start a run, highest first.
   * @returns the one whose turn it is although a higher one waits, too: the longest passed over. Its turn comes early enough
   *   for those below it.
   */
  #overdueOf(waiting: readonly Priority[]): Priority | undefined {
    let [overdue, longest]: [Priority | undefined, number] = [undefined, -1];
    for (const [above, priority] of waiting.entries()) {
      const below = waiting.length - 1 - above;
      const passedOver = this.#passedOver.get(priority) ?? 0;
      if (passedOver < PASSED_OVER_AT_MOST - below || passedOver <= longest) continue;
      [overdue, longest] = [priority, passedOver];
    }
    return overdue;
  }

  #serve(share: Share, nowMs: number): void {
    share.slots += 1;
    share.starting += 1;
    share.due -= 1;
    this.#slots += 1;
    this.#starting += 1;
    this.#servedTo = Math.max(this.#servedTo, share.servedTo);
    share.servedTo += 1 / share.demand.weight;
    this.#log(share.demand.tenantId, nowMs);
  }

  /** Only where a rate asks for it. */
  #log(tenantId: TenantId, atMs: number): void {
    if (this.#platform.startRate !== undefined) this.#platformStarts.started(atMs);
    if (this.#tenants.get(tenantId)?.demand.startRate === undefined) {
      this.#tenantStarts.delete(tenantId);
      return;
    }
    this.#startsOf(tenantId).started(atMs);
  }

  #startsOf(tenantId: TenantId): StartLog {
    const starts = this.#tenantStarts.get(tenantId) ?? new StartLog();
    this.#tenantStarts.set(tenantId, starts);
    return starts;
  }
}

/** Fewest slots per weight, then who was served least. */
function isBefore(one: Share, other: Share): boolean {
  const [ours, theirs] = [one.slots / one.demand.weight, other.slots / other.demand.weight];
  return ours === theirs ? one.servedTo < other.servedTo : ours < theirs;
}
