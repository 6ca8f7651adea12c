import { pino, type Logger } from 'pino';
import type { Backend } from '../../controller/backends/types.ts';
import { Controller } from '../../controller/dispatch/controller.ts';
import type { DispatchStore } from '../../controller/dispatch/store.ts';
import { messageOf } from '../../controller/errors.ts';
import { isTerminal } from '../../controller/model/run-status.ts';
import { Random } from '../chaos/random.ts';
import { Audit } from './audit.ts';
import { Engine, unanswered } from './engine.ts';
import type { PlatformLimits } from '../../controller/store/tenants.ts';
import { ModelStore, type ModelTenant } from './model-store.ts';
import { Observer } from './observer.ts';
import { backendPort, ChangesPort, storePort } from './ports.ts';
import { Process } from './process.ts';
import { draw, NO_FAULTS, type Incident, type Scenario } from './scenario.ts';
import { VirtualTime } from './virtual-time.ts';
import { Wire } from './wire.ts';
import type { World } from './world.ts';

export interface SimulationOptions {
  /** Takes each line of what happens. @default - nobody */
  readonly onLine?: (line: string) => void;
  /** Puts a mistake in: a simulation that does not notice it proves nothing. @default - none */
  readonly sabotage?: Sabotage;
}

/** A mistake, where dispatch meets the record and the engine, or in the record itself. */
export interface Sabotage {
  readonly ports?: (ports: Ports) => Ports;
  readonly record?: (record: ModelStore) => void;
}

/** All that dispatch does it does through these. */
export interface Ports {
  readonly store: DispatchStore;
  readonly backend: Backend;
}

export interface Outcome {
  readonly seed: number;
  /** What was promised and did not hold. */
  readonly violation: string | undefined;
  /** How much time it simulated, in ms. */
  readonly simulatedMs: number;
  readonly runs: number;
  readonly incidents: number;
}

/** When nothing goes wrong any more, all runs must have ended after this long. */
const TIME_TO_END_MS = 30 * 60_000;
/** When all has ended, nothing must happen for this long. */
const QUIET_MS = 12_000;
const MAX_EVENTS = 1_000_000;
const STANDBY_RETRY_MS = 1_000;
const MAX_SKEW_MS = 60_000;

/** Simulates what the seed says: the same seed is the same simulation. */
export const simulate = (seed: number, options: SimulationOptions = {}): Promise<Outcome> =>
  new Simulation(seed, options).run();

/** A controller and the process that it lives in. */
interface Leader {
  readonly process: Process;
  readonly changes: ChangesPort;
  readonly observer: Observer;
  controller?: Controller;
}

class Simulation implements World {
  readonly #seed: number;
  readonly #options: SimulationOptions;
  readonly scenario: Scenario;
  readonly time = new VirtualTime();
  readonly random: Random;
  readonly audit: Audit;
  readonly engine: Engine;
  readonly store: ModelStore;
  readonly #leaders = new Set<Leader>();
  /** Who holds the lead; undefined while nobody does. */
  #leader: Leader | undefined;
  #controllers = 0;
  #databaseDownUntilMs = -Infinity;

  constructor(seed: number, options: SimulationOptions) {
    this.#seed = seed;
    this.#options = options;
    this.random = new Random(seed);
    this.scenario = draw(this.random.fork());
    this.audit = new Audit(this);
    this.engine = new Engine(this);
    this.store = new ModelStore(() => this.time.nowMs, {
      changed: (change, from) => {
        this.trace(
          `run ${Number(change.runId.slice(-12))}/${change.attempt} is ${change.status}${change.cancelRequested ? ', to be canceled' : ''}`,
        );
        this.audit.changed(change, from);
        for (const { changes } of this.#leaders) changes.changed(change);
      },
      result: (ref) => {
        for (const { changes } of this.#leaders) changes.result(ref);
      },
      limits: () => {
        for (const { changes } of this.#leaders) changes.limits();
      },
    });
    options.sabotage?.record?.(this.store);
  }

  trace = (line: string): void => {
    this.#options.onLine?.(`${(this.time.nowMs / 1000).toFixed(3).padStart(9)} ${line}`);
  };

  faults = () => (this.time.nowMs < this.scenario.faultsUntilMs ? this.scenario.faults : NO_FAULTS);

  isDatabaseDown = (): boolean => this.time.nowMs < this.#databaseDownUntilMs;

  async run(): Promise<Outcome> {
    const { scenario, time } = this;
    this.#limit(scenario.platform);
    for (const tenant of scenario.tenants) this.#settle(tenant);
    for (const { atMs, run, cancelInMs } of scenario.submissions) {
      time.after(atMs, () => this.store.insertRun(run));
      if (cancelInMs !== undefined) time.after(atMs + cancelInMs, () => this.store.requestCancel(run.id));
    }
    for (const incident of scenario.incidents) time.after(incident.atMs, () => this.#happen(incident));
    time.after(scenario.faultsUntilMs, () => this.#calmDown());
    this.#lead();
    await this.#untilOver();
    return {
      seed: this.#seed,
      violation: this.audit.violation,
      simulatedMs: time.nowMs,
      runs: this.store.runs.size,
      incidents: scenario.incidents.length,
    };
  }

  async #untilOver(): Promise<void> {
    const { scenario, time, store, engine } = this;
    const lastAtMs = Math.max(scenario.faultsUntilMs, scenario.submissions.at(-1)?.atMs ?? 0);
    let events = 0;
    let endedAtMs: number | undefined;
    await time.run(() => {
      if ((events += 1) > MAX_EVENTS) this.audit.fail(`more than ${MAX_EVENTS} events happened`);
      if (this.audit.violation !== undefined) return true;
      const hasEnded =
        time.nowMs >= lastAtMs &&
        engine.containers.size === 0 &&
        [...store.runs.values()].every(({ status }) => isTerminal(status));
      endedAtMs = hasEnded ? (endedAtMs ?? time.nowMs) : undefined;
      return time.nowMs > (endedAtMs === undefined ? lastAtMs + TIME_TO_END_MS : endedAtMs + QUIET_MS);
    });
    if (this.audit.violation === undefined) this.audit.atEnd();
  }

  #limit(limits: PlatformLimits): void {
    this.audit.platformIs(limits);
    this.store.setPlatformLimits(limits);
  }

  #settle(tenant: ModelTenant): void {
    this.audit.tenantIs(tenant);
    this.store.upsertTenant(tenant);
  }

  /** From now on nothing goes wrong, and nobody is paused. */
  #calmDown(): void {
    this.trace('nothing goes wrong any more');
    for (const tenant of this.store.tenants.values()) {
      if (tenant.paused) this.#settle({ ...tenant, paused: false });
    }
  }

  #happen(incident: Incident): void {
    this.trace(`incident: ${JSON.stringify(incident)}`);
    const leader = this.#leader;
    switch (incident.kind) {
      case 'kill':
        if (leader !== undefined) this.#replace(leader, incident.takeOverMs, () => this.#kill(leader));
        return;
      case 'abandon':
        if (leader?.controller === undefined) return;
        void leader.controller.abandon();
        this.#replace(leader, incident.takeOverMs, () =>
          this.time.after(incident.takeOverMs, () => this.#kill(leader)),
        );
        return;
      case 'freeze':
        if (leader !== undefined)
          this.#replace(leader, incident.takeOverMs, () => this.#freeze(leader, incident));
        return;
      case 'stall':
        leader?.process.freeze();
        this.time.after(incident.forMs, () => leader?.process.thaw());
        return;
      case 'database-down':
        this.#databaseDownUntilMs = this.time.nowMs + incident.forMs;
        for (const { changes } of this.#leaders) changes.disconnect(incident.forMs + STANDBY_RETRY_MS);
        return;
      case 'changes-lost':
        leader?.changes.disconnect(incident.forMs);
        return;
      case 'observer-lost':
        leader?.observer.disconnect(incident.forMs);
        return;
      case 'engine-down':
        for (const { observer } of this.#leaders) observer.disconnect(incident.forMs);
        this.engine.fail(incident.forMs, incident.deaths);
        return;
      case 'tenant':
        this.#settle(incident.tenant);
        return;
      case 'platform':
        this.#limit(incident.limits);
    }
  }

  #replace(leader: Leader, takeOverMs: number, end: () => void): void {
    this.trace(`${leader.process.name} leads no more`);
    this.#leader = undefined;
    end();
    this.time.after(takeOverMs, () => this.#lead());
  }

  #kill(leader: Leader): void {
    leader.process.kill();
    this.#leaders.delete(leader);
  }

  /** It comes back without the lead, which it notices only after a while. */
  #freeze(leader: Leader, { forMs, besideMs }: Extract<Incident, { kind: 'freeze' }>): void {
    leader.process.freeze();
    this.audit.besideEachOther(this.time.nowMs + forMs + besideMs);
    this.time.after(forMs, () => {
      this.trace(`${leader.process.name} is back`);
      leader.process.thaw();
    });
    this.time.after(forMs + besideMs, () => this.#kill(leader));
  }

  #lead(): void {
    const { time, random, scenario, engine } = this;
    const name = `controller-${(this.#controllers += 1)}`;
    const process = new Process(name, time, random.between(-MAX_SKEW_MS, MAX_SKEW_MS));
    const leader: Leader = {
      process,
      changes: new ChangesPort(this, process),
      observer: new Observer(this, process),
    };
    this.trace(`${name} leads`);
    this.#leaders.add(leader);
    this.#leader = leader;
    const storeWire = new Wire({
      ...{ time, random, process, isDown: this.isDatabaseDown },
      lossChance: () => this.faults().storeLoss,
      noAnswer: () => new Error('the record did not answer'),
    });
    const engineWire = new Wire({
      ...{ time, random, process, isDown: () => engine.isDown },
      lossChance: () => this.faults().engineLoss,
      noAnswer: unanswered,
    });
    const ports: Ports = {
      store: storePort(this.store, storeWire, (what) => this.audit.asked(name, what)),
      backend: backendPort(engine, engineWire, leader.observer, scenario.claimProof),
    };
    Controller.start({
      ...(this.#options.sabotage?.ports?.(ports) ?? ports),
      changes: leader.changes,
      policy: scenario.policy,
      claimTimeoutMs: scenario.claimTimeoutMs,
      log: this.#log(name),
      clock: process.clock,
      random: () => random.next(),
    }).then(
      (controller) => (leader.controller = controller),
      (error: unknown) => {
        if (this.#leader !== leader) return;
        this.trace(`${name} does not start: ${messageOf(error)}`);
        this.#replace(leader, STANDBY_RETRY_MS, () => this.#kill(leader));
      },
    );
  }

  #log(name: string): Logger {
    if (this.#options.onLine === undefined) return SILENT;
    const lines = { write: (line: string) => this.trace(`${name}: ${line.trim()}`) };
    return pino({ base: null, timestamp: false }, lines);
  }
}

const SILENT: Logger = pino({ level: 'silent' });
