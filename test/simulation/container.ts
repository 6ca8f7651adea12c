import type { AttemptSpec, BackendAttempt } from '../../controller/backends/types.ts';
import { hashToken } from '../../controller/gateway/tokens.ts';
import type { Exit, ExitReason } from '../../controller/model/exit.ts';
import type { AttemptRef } from '../../controller/model/ids.ts';
import { attemptName } from '../../controller/model/ids.ts';
import type { RunResult } from '../../controller/model/verdict.ts';
import type { ClaimProof } from '../../controller/store/claim-proof.ts';
import type { World } from './world.ts';

/** What a container does that does not just do its work. */
const MISCONDUCTS = [
  ...(['dies-unclaimed', 'never-starts', 'never-claims', 'claims-late', 'claims-twice', 'crashes'] as const),
  ...(['hangs', 'fails', 'lingers', 'told-to-stop', 'vanishes'] as const),
];
type Conduct = (typeof MISCONDUCTS)[number] | 'works';

const STARTUP_MS = [1, 300] as const;
/** The runner asks the gateway again after this long when nobody answered. */
const ASK_AGAIN_MS = 500;
const LINGERS_MS = 60_000;
const SIGKILL_EXIT = 137;

/** Whatever ends a container that its engine can tell of. */
const CAUSES: readonly ExitReason[] = [
  ...(['DEADLINE_EXCEEDED', 'IMAGE_PULL_FAILED', 'UNSCHEDULABLE', 'QUOTA_EXCEEDED'] as const),
  ...(['ADMISSION_DENIED', 'EVICTED', 'NODE_LOST', 'PREEMPTED'] as const),
];

/** One container and the runner in it: it claims its payload from the gateway, works, gives its result, and exits. */
export class Container {
  readonly name: string;
  readonly spec: AttemptSpec;
  readonly #world: World;
  readonly #conduct: Conduct;
  readonly #stopsWhenAsked: boolean;
  readonly #onEnd: (exit: Exit) => void;
  #state: BackendAttempt['state'] = 'created';
  #exit: Exit | undefined;
  #claimed = false;

  /** @param onEnd told once, when it has ended. */
  constructor(spec: AttemptSpec, world: World, onEnd: (exit: Exit) => void) {
    const { random } = world;
    this.name = attemptName(spec);
    this.spec = spec;
    this.#world = world;
    this.#conduct = random.chance(world.faults().misconduct) ? random.pick(MISCONDUCTS)! : 'works';
    this.#stopsWhenAsked = random.chance(0.8);
    this.#onEnd = onEnd;
  }

  get view(): BackendAttempt {
    const { runId, attempt, tenantId } = this.spec;
    return {
      ...{ runId, attempt, tenantId, containerId: this.name, state: this.#state },
      ...(this.#exit && { exit: this.#exit }),
    };
  }

  get isRunning(): boolean {
    return this.#state === 'pending' || this.#state === 'running';
  }

  begin(): void {
    const { random, trace } = this.#world;
    trace(`container ${short(this.spec)} ${this.#conduct}`);
    this.#state = 'pending';
    if (this.#conduct === 'never-starts') return;
    this.#later(random.between(...STARTUP_MS), () => {
      this.#state = 'running';
      this.#run();
    });
  }

  #run(): void {
    const { random, scenario } = this.#world;
    const soonMs = random.between(...STARTUP_MS);
    switch (this.#conduct) {
      case 'dies-unclaimed':
        this.#later(soonMs, () => this.end(this.#anyEnd()));
        return;
      case 'never-claims':
      case 'never-starts':
        return;
      case 'claims-late':
        this.#later(random.between(0, 2 * scenario.claimTimeoutMs), () => this.#claim());
        return;
      case 'claims-twice':
        this.#later(soonMs, () => this.#claim());
        this.#later(soonMs + random.between(0, 10), () => this.#claim());
        return;
      default:
        this.#later(soonMs, () => this.#claim());
    }
  }

  #claim(): void {
    const { claimToken, tenantId } = this.spec;
    const proof: ClaimProof =
      claimToken === null
        ? { kind: 'pod', uid: this.name, tenantId }
        : { kind: 'token', hash: hashToken(claimToken) };
    this.#ask(
      () => {
        const won = this.#world.store.claimRun(this.spec, proof);
        if (won) this.#world.audit.claimed(this.spec);
        return won;
      },
      (won) => {
        if (won) this.#work();
        else if (!this.#claimed) this.end({ exitCode: 3 });
      },
    );
  }

  #work(): void {
    const { random, scenario } = this.#world;
    this.#claimed = true;
    const workMs = random.between(...scenario.workMs);
    switch (this.#conduct) {
      case 'hangs':
        return;
      case 'crashes':
        this.#later(workMs, () => this.end(this.#anyEnd()));
        return;
      case 'vanishes':
        this.#later(workMs, () => this.#world.engine.vanish(this));
        return;
      case 'told-to-stop':
        this.#later(workMs, () => this.#report({ status: 'CANCELED', reason: 'CANCELED' }));
        return;
      case 'fails':
        this.#later(workMs, () => this.#report({ status: 'FAILED', reason: 'STEP_FAILED' }));
        return;
      default:
        this.#later(workMs, () => this.#report({ status: 'SUCCESS' }));
    }
  }

  #report(result: RunResult): void {
    const { store, random } = this.#world;
    this.#ask(
      () => store.recordResult(this.spec, result),
      () => {
        const exitMs = this.#conduct === 'lingers' ? LINGERS_MS : random.between(1, 100);
        this.#later(exitMs, () => this.end({ exitCode: 0 }));
      },
    );
  }

  /** SIGTERM, and SIGKILL after `graceMs`. */
  stop(graceMs: number): void {
    if (!this.isRunning) return;
    const isPending = this.#state === 'pending';
    if (graceMs === 0 || isPending) {
      this.end({ exitCode: SIGKILL_EXIT });
      return;
    }
    this.#later(graceMs, () => this.end({ exitCode: SIGKILL_EXIT }));
    if (!this.#stopsWhenAsked) return;
    this.#later(50, () => {
      if (this.#claimed) this.#report({ status: 'CANCELED', reason: 'CANCELED' });
      else this.end({ exitCode: 143 });
    });
  }

  /** Ends it now, if it has not ended. */
  end(how: Partial<Exit>): void {
    if (this.#state === 'ended') return;
    const { trace, engine } = this.#world;
    this.#state = 'ended';
    this.#exit = { kind: 'exited', exitCode: null, oomKilled: false, at: engine.date(), ...how };
    trace(`container ${short(this.spec)} ended: ${this.#exit.kind} ${this.#exit.exitCode ?? ''}`);
    this.#onEnd(this.#exit);
  }

  #anyEnd(): Partial<Exit> {
    const { random } = this.#world;
    const cause = random.chance(0.5) && { reason: random.pick(CAUSES)!, message: 'simulated' };
    return {
      exitCode: random.pick([0, 1, SIGKILL_EXIT])!,
      oomKilled: random.chance(0.2),
      ...(cause && { cause }),
    };
  }

  /** Asks the gateway until it answers; what it answers may be lost, and then it was asked twice. */
  #ask<T>(serve: () => T, then: (answer: T) => void): void {
    const { random, faults, isDatabaseDown } = this.#world;
    this.#later(random.between(1, 10), () => {
      const isLost = (): boolean => random.chance(faults().storeLoss);
      const again = (): void => this.#later(ASK_AGAIN_MS, () => this.#ask(serve, then));
      if (isDatabaseDown() || isLost()) {
        again();
        return;
      }
      const answer = serve();
      if (isLost()) again();
      else this.#later(random.between(1, 10), () => then(answer));
    });
  }

  /** What it would do when it has ended is not done. */
  #later(delayMs: number, work: () => void): void {
    this.#world.time.after(delayMs, () => {
      if (this.isRunning) work();
    });
  }
}

/** @returns a name for traces: the last digits of the run's id, and the attempt. */
export const short = ({ runId, attempt }: AttemptRef): string => `${Number(runId.slice(-12))}/${attempt}`;
