import type { Exit } from '../../model/exit.ts';
import { attemptName, type AttemptRef } from '../../model/ids.ts';
import type { BackendAttempt, Observation, TenantAttempt } from '../types.ts';
import { identityOf } from '../attempt-labels.ts';
import type { Pod } from './objects.ts';
import { podExit, podWait, startedAt, vanishedExit, type PodWait } from './pod-exit.ts';
import type { PodChange } from './pod-watch.ts';

/** What is known of one attempt. */
export interface Tracked {
  readonly ref: TenantAttempt;
  /** The Job's uid; empty when a pod was seen of which no Job is known. */
  jobUid: string;
  /** Its pod, as it was told last. */
  pod: Pod | undefined;
  /** Its pod was there and is not any more. */
  vanished: Pod | undefined;
  exit: Exit | undefined;
  /** Its end was recorded, or nobody wants to know: it is kept only until its pod is gone. */
  removed: boolean;
  /** For what its pod waits, and since when on our own clock. */
  waiting: { readonly for: PodWait; readonly sinceMs: number } | undefined;
  /** When to ask the Job next while there is no pod, on our own clock, and how long was waited for it. */
  askAtMs: number;
  askAfterMs: number;
  /** Only the Job itself can say what became of it. */
  urgent: boolean;
}

export interface AttemptViewOptions {
  readonly tenantId: string;
  readonly onObservation: (observation: Observation) => void;
  /** A pod that no node has room for is given up after this long. */
  readonly unschedulableTimeoutMs: number;
}

/** A Job makes its pod within some 10 ms; who has none after this long asks the Job why. */
const FIRST_ASK_MS = 1_000;
const LONGEST_ASK_MS = 30_000;
/** How much longer than its grace period a deleted pod may take to end. */
const END_LATE_MS = 30_000;
/** A kubelet that has just started does not know Services and secrets yet; it looks again after some ten seconds. */
const CONFIG_MS = 20_000;

/** Whether the attempts of one tenant run, as far as their pods tell. No I/O: it is told, and asked. */
export class AttemptView {
  readonly #options: AttemptViewOptions;
  readonly #tracked = new Map<string, Tracked>();

  constructor(options: AttemptViewOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#tracked.size;
  }

  get(ref: AttemptRef): Tracked | undefined {
    return this.#tracked.get(attemptName(ref));
  }

  /** @returns the attempts that were not removed. */
  list(): BackendAttempt[] {
    return [...this.#tracked.values()].filter(({ removed }) => !removed).map(asAttempt);
  }

  /** The attempt's Job exists, so it runs or will. One that was known stays as it is. */
  expect(ref: TenantAttempt, jobUid: string): Tracked {
    const known = this.get(ref);
    if (known !== undefined) {
      known.jobUid ||= jobUid;
      return known;
    }
    return this.#track(ref, jobUid);
  }

  #track({ runId, attempt, tenantId }: TenantAttempt, jobUid: string): Tracked {
    const tracked: Tracked = {
      ref: { runId, attempt, tenantId },
      jobUid,
      pod: undefined,
      vanished: undefined,
      exit: undefined,
      removed: false,
      waiting: undefined,
      askAtMs: performance.now() + FIRST_ASK_MS,
      askAfterMs: FIRST_ASK_MS,
      urgent: false,
    };
    this.#tracked.set(attemptName(tracked.ref), tracked);
    return tracked;
  }

  /** Takes in what the API server said. */
  tell(change: PodChange): void {
    switch (change.kind) {
      case 'changed':
        this.#seen(change.pod, false);
        return;
      case 'deleted':
        this.#seen(change.pod, false);
        this.#gone(change.pod);
        return;
      case 'listed': {
        const present = new Set(change.pods.map((pod) => pod.metadata.uid));
        for (const { pod } of [...this.#tracked.values()]) {
          if (pod !== undefined && !present.has(pod.metadata.uid)) this.#gone(pod);
        }
        // An end that could not be recorded must not be forgotten: it is observed again.
        for (const pod of change.pods) this.#seen(pod, true);
      }
    }
  }

  #seen(pod: Pod, again: boolean): void {
    const ref = identityOf(pod.metadata.labels);
    if (ref?.tenantId !== this.#options.tenantId) return;
    const jobUid = pod.metadata.ownerReferences.find((owner) => owner.kind === 'Job')?.uid ?? '';
    const tracked = this.expect(ref, jobUid);
    const wasRunning = tracked.pod !== undefined && startedAt(tracked.pod) !== undefined;
    // What has ended has ended, even if Kubernetes should make a second pod: its claim is refused.
    if (tracked.exit !== undefined && tracked.pod?.metadata.uid !== pod.metadata.uid) return;
    tracked.pod = pod;
    const wait = podWait(pod);
    if (wait !== tracked.waiting?.for) {
      tracked.waiting = wait && { for: wait, sinceMs: performance.now() };
    }
    const at = startedAt(pod);
    if (at !== undefined && tracked.exit === undefined && (!wasRunning || again)) {
      this.#observe(tracked, { kind: 'started', at });
    }
    const exit = tracked.exit ?? podExit(pod);
    if (exit !== undefined && (tracked.exit === undefined || (again && !tracked.removed))) {
      this.end(tracked, exit);
    }
  }

  #gone(pod: Pod): void {
    const ref = identityOf(pod.metadata.labels);
    const tracked = ref && this.get(ref);
    if (tracked?.pod?.metadata.uid !== pod.metadata.uid) return;
    tracked.vanished = tracked.pod;
    tracked.pod = undefined;
    tracked.waiting = undefined;
    if (tracked.removed) this.end(tracked, tracked.exit ?? vanishedExit(pod));
    // Its Job says whether that was the deadline.
    else if (tracked.exit === undefined) this.askSoon(tracked);
  }

  /** The attempt has ended. */
  end(tracked: Tracked, exit: Exit): void {
    tracked.exit = exit;
    this.#observe(tracked, { kind: 'ended', exit });
    if (tracked.removed && tracked.pod === undefined) this.forget(tracked.ref);
  }

  #observe(
    { ref, jobUid }: Tracked,
    what: { kind: 'started'; at: Date } | { kind: 'ended'; exit: Exit },
  ): void {
    const { runId, attempt } = ref;
    this.#options.onObservation({ runId, attempt, containerId: jobUid, ...what });
  }

  /** Tells once more all that is so now: for who begins to listen. */
  replay(tell: (observation: Observation) => void): void {
    for (const { ref, jobUid, removed, pod, exit } of this.#tracked.values()) {
      if (removed) continue;
      const { runId, attempt } = ref;
      const at = pod && startedAt(pod);
      if (at !== undefined) tell({ runId, attempt, containerId: jobUid, kind: 'started', at });
      if (exit !== undefined) tell({ runId, attempt, containerId: jobUid, kind: 'ended', exit });
    }
  }

  /** Lists the attempt no more. */
  remove(ref: AttemptRef): void {
    const tracked = this.get(ref);
    if (tracked === undefined) return;
    tracked.removed = true;
    if (tracked.pod !== undefined) return;
    if (tracked.exit !== undefined) this.forget(ref);
    else this.askSoon(tracked);
  }

  /** Nothing of the attempt exists. */
  forget(ref: AttemptRef): void {
    this.#tracked.delete(attemptName(ref));
  }

  /** Has the Job itself asked soon, and from there less and less often. */
  askSoon(tracked: Tracked, inMs = 0): void {
    tracked.askAtMs = performance.now() + inMs;
    tracked.askAfterMs = FIRST_ASK_MS;
    tracked.urgent = true;
  }

  /** The Job was asked, or need not be yet. */
  asked(tracked: Tracked): void {
    tracked.askAfterMs = Math.min(tracked.askAfterMs * 2, LONGEST_ASK_MS);
    tracked.askAtMs = performance.now() + tracked.askAfterMs;
    tracked.urgent = false;
  }

  /** @returns the attempts that have had no pod for long enough to wonder why. */
  podless(): Tracked[] {
    const now = performance.now();
    return [...this.#tracked.values()].filter(
      ({ pod, exit, askAtMs }) => pod === undefined && exit === undefined && now >= askAtMs,
    );
  }

  /** @returns the attempts whose pods have waited too long, as far as was told: what is known of them may be old. */
  overdue(): Tracked[] {
    const now = performance.now();
    return [...this.#tracked.values()].filter(
      ({ pod, waiting, exit }) =>
        pod !== undefined &&
        exit === undefined &&
        waiting !== undefined &&
        now - waiting.sinceMs >= this.#patienceMs(waiting.for, pod),
    );
  }

  /** Gives up the attempts whose pods have waited too long. To be called only just after a list was told. */
  giveUpOverdue(): void {
    for (const tracked of this.overdue()) {
      const exit = tracked.pod && podExit(tracked.pod, true);
      if (exit !== undefined) this.end(tracked, exit);
    }
  }

  #patienceMs(wait: PodWait, pod: Pod): number {
    switch (wait) {
      case 'node':
        return this.#options.unschedulableTimeoutMs;
      case 'config':
        return CONFIG_MS;
      case 'end':
        return (pod.metadata.deletionGracePeriodSeconds ?? 0) * 1000 + END_LATE_MS;
    }
  }
}

/** @returns the attempt as the backend's callers see it. */
export function asAttempt({ ref, jobUid, pod, exit }: Tracked): BackendAttempt {
  const attempt = { ...ref, containerId: jobUid };
  if (exit !== undefined) return { ...attempt, state: 'ended', exit };
  return { ...attempt, state: pod !== undefined && startedAt(pod) !== undefined ? 'running' : 'pending' };
}

/** @returns how an attempt ended whose pod vanished: what the Job knows, or else what the pod said last. */
export function exitOfVanished(tracked: Tracked, byJob: Exit | undefined): Exit | undefined {
  if (tracked.vanished === undefined) return byJob;
  const byPod = vanishedExit(tracked.vanished);
  return byPod.cause === undefined && byJob?.cause !== undefined ? { ...byPod, cause: byJob.cause } : byPod;
}
