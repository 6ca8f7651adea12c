import { Counter, Gauge, Histogram } from 'prom-client';
import type { BackendAttempt } from '../backends/types.ts';
import type { AttemptRef } from '../model/ids.ts';
import type { Reason } from '../model/reasons.ts';
import type { DispatchObserver, PressureReading, PressureReadings } from './dispatch-observer.ts';
import { OTHER_TENANTS, type Metrics } from './metrics.ts';
import { SlotDrift } from './slot-drift.ts';

const LAG_BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/** What the dispatcher of the leading controller does. */
export class DispatchMetrics implements DispatchObserver {
  readonly #metrics: Metrics;
  readonly #admissions: Counter;
  readonly #lag: Histogram;
  readonly #refused: Counter<'reason'>;
  readonly #slots: Gauge;
  readonly #containers: Gauge;
  readonly #drift: Gauge;
  readonly #unbacked: Gauge;
  readonly #unowned: Gauge;
  readonly #comparedAt: Gauge;
  readonly #window: Gauge<'scope' | 'tenant'>;
  readonly #held: Gauge<'scope' | 'tenant'>;
  readonly #comparison = new SlotDrift(() => performance.now());
  #endPressure: () => void = () => undefined;

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
    const registers = [metrics.registry];
    this.#admissions = new Counter({
      name: 'wormhole_admissions_total',
      help: 'Attempts that got their slot: runs that went from QUEUED to STARTING.',
      registers,
    });
    this.#lag = new Histogram({
      name: 'wormhole_dispatch_lag_seconds',
      help: 'From what woke dispatch until its round had admitted runs.',
      buckets: LAG_BUCKETS_SECONDS,
      registers,
    });
    this.#refused = new Counter({
      name: 'wormhole_starts_refused_total',
      help: 'Attempts that were not started, or ended before their claim, by reason; one whose start nobody answers counts at each try.',
      labelNames: ['reason'],
      registers,
    });
    this.#slots = new Gauge({
      name: 'wormhole_slots',
      help: 'Runs in STARTING or RUNNING when record and backend were compared last.',
      registers,
    });
    this.#containers = new Gauge({
      name: 'wormhole_containers_live',
      help: 'Containers that had not ended when record and backend were compared last.',
      registers,
    });
    this.#unbacked = new Gauge({
      name: 'wormhole_slots_without_container',
      help: 'Slots that have had no live container for at least 30 s; must be 0.',
      registers,
    });
    this.#unowned = new Gauge({
      name: 'wormhole_containers_without_slot',
      help: 'Live containers that have had no slot for at least 30 s; must be 0.',
      registers,
    });
    this.#drift = new Gauge({
      name: 'wormhole_slot_drift',
      help: 'Slots less live containers, of those that have differed for at least 30 s; must be 0.',
      registers,
    });
    this.#comparedAt = new Gauge({
      name: 'wormhole_slots_compared_timestamp_seconds',
      help: 'When record and backend were compared last, since the epoch.',
      registers,
    });
    this.#window = new Gauge({
      name: 'wormhole_backpressure_window',
      help: 'How many attempts may be on their way to their claim because starts were refused; absent: as many as have slots.',
      labelNames: ['scope', 'tenant'],
      registers,
    });
    this.#held = new Gauge({
      name: 'wormhole_backpressure_hold_seconds',
      help: 'How long nothing is started, from now, because starts were refused; absent: starts are not held back.',
      labelNames: ['scope', 'tenant'],
      registers,
    });
  }

  admitted(runs: number, sinceWokenMs: number): void {
    this.#admissions.inc(runs);
    this.#lag.observe(sinceWokenMs / 1000);
  }

  refused(reason: Reason): void {
    this.#refused.inc({ reason });
  }

  compared(slots: readonly AttemptRef[], containers: readonly BackendAttempt[]): void {
    const drift = this.#comparison.compare(slots, containers);
    this.#slots.set(slots.length);
    this.#containers.set(containers.filter(({ state }) => state !== 'ended').length);
    this.#unbacked.set(drift.slotsWithoutContainer);
    this.#unowned.set(drift.containersWithoutSlot);
    this.#drift.set(drift.slotsWithoutContainer - drift.containersWithoutSlot);
    this.#comparedAt.setToCurrentTime();
  }

  pressure(read: () => PressureReadings): void {
    this.#endPressure();
    this.#endPressure = this.#metrics.beforeReading(() => {
      this.#showPressure(read());
      return Promise.resolve();
    });
  }

  #showPressure({ platform, tenants }: PressureReadings): void {
    this.#window.reset();
    this.#held.reset();
    this.#show({ scope: 'platform', tenant: '' }, platform);
    const most = tenants.toSorted((one, other) => other.heldMs - one.heldMs);
    const { labelledTenants } = this.#metrics;
    for (const reading of most.slice(0, labelledTenants)) {
      this.#show({ scope: 'tenant', tenant: reading.tenantId }, reading);
    }
    const rest = most.slice(labelledTenants);
    if (rest.length === 0) return;
    this.#show(
      { scope: 'tenant', tenant: OTHER_TENANTS },
      {
        window: rest.reduce((sum, { window }) => sum + window, 0),
        heldMs: rest.reduce((longest, { heldMs }) => Math.max(longest, heldMs), 0),
      },
    );
  }

  #show(
    labels: { readonly scope: string; readonly tenant: string },
    { window, heldMs }: PressureReading,
  ): void {
    if (window === Infinity && heldMs === 0) return;
    if (window !== Infinity) this.#window.set(labels, window);
    this.#held.set(labels, heldMs / 1000);
  }
}
