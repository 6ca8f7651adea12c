import type Dockerode from 'dockerode';
import type { ContainerInfo } from 'dockerode';
import type { AttemptRef } from '../../model/ids.ts';
import type { Exit, Observation } from '../types.ts';
import { identityOf } from '../attempt-labels.ts';
import { exitOf, stateOf } from './container-state.ts';
import { accepting } from './engine-error.ts';
import { watchEngine, type EngineChange, type EngineWatchOptions } from './engine-watch.ts';

const INSPECT_MS = 10_000;

/** What is known of a container that was not destroyed yet. */
interface Seen {
  readonly ref: AttemptRef;
  /** The kernel killed something in it for want of memory. */
  oomKilled: boolean;
  /** Its end was observed. A container that vanishes before that was lost. */
  ended: boolean;
}

/**
 * Turns what the engine says into observations, until `signal` aborts; then it ends. An ended container is
 * observed again at every listing until it is removed, so that an end which could not be recorded is not forgotten.
 */
export async function* observeContainers(
  options: EngineWatchOptions,
  signal: AbortSignal,
): AsyncGenerator<Observation, void, undefined> {
  const seen = new Map<string, Seen>();
  for await (const change of watchEngine(options, signal)) {
    if (change.kind === 'listed') yield* listed(options.docker, change.containers, seen);
    else yield* happened(options.docker, change, seen);
  }
}

async function* happened(
  docker: Dockerode,
  event: Exclude<EngineChange, { kind: 'listed' }>,
  seen: Map<string, Seen>,
): AsyncGenerator<Observation, void, undefined> {
  const { containerId, at } = event;
  // A container that is destroyed without having been seen was never started.
  const known = seen.get(containerId) ?? (event.kind === 'destroy' ? undefined : newlySeen(event.labels));
  if (known === undefined) return;
  seen.set(containerId, known);
  switch (event.kind) {
    case 'start':
      yield { ...known.ref, kind: 'started', containerId, at };
      return;
    case 'oom':
      known.oomKilled = true;
      return;
    case 'die': {
      known.ended = true;
      // Gone already, or the engine with it: then the event is all there is.
      const told: Exit = { kind: 'exited', exitCode: event.exitCode, oomKilled: false, at };
      const exit = await inspectExit(docker, containerId);
      yield ended(containerId, known, exit?.kind === 'exited' ? exit : told);
      return;
    }
    case 'destroy':
      seen.delete(containerId);
      if (!known.ended) yield ended(containerId, known, lostAt(at));
      return;
  }
}

async function* listed(
  docker: Dockerode,
  containers: readonly ContainerInfo[],
  seen: Map<string, Seen>,
): AsyncGenerator<Observation, void, undefined> {
  const present = new Set(containers.map((container) => container.Id));
  for (const [containerId, known] of seen) {
    if (present.has(containerId)) continue;
    // The list may be older than a start that was told before it arrived: only an inspection says what is gone.
    const exit = known.ended ? undefined : await inspectExit(docker, containerId);
    if (known.ended || exit?.kind === 'lost') seen.delete(containerId);
    if (exit === undefined) continue;
    known.ended = true;
    yield ended(containerId, known, exit);
  }
  for (const { Id: containerId, State, Labels } of containers) {
    const state = stateOf(State);
    const known = seen.get(containerId) ?? newlySeen(Labels);
    if (known === undefined || state === 'created') continue;
    if (state === 'running') {
      if (!seen.has(containerId)) yield { ...known.ref, kind: 'started', containerId, at: new Date() };
      seen.set(containerId, known);
      continue;
    }
    seen.set(containerId, known);
    const exit = await inspectExit(docker, containerId);
    // Gone since it was listed: its events say so.
    if (exit?.kind !== 'exited') continue;
    known.ended = true;
    yield ended(containerId, known, exit);
  }
}

function newlySeen(labels: unknown): Seen | undefined {
  const identity = identityOf(labels);
  return (
    identity && { ref: { runId: identity.runId, attempt: identity.attempt }, oomKilled: false, ended: false }
  );
}

const ended = (containerId: string, known: Seen, exit: Exit): Observation => ({
  ...known.ref,
  kind: 'ended',
  containerId,
  exit: { ...exit, oomKilled: exit.oomKilled || known.oomKilled },
});

/**
 * @returns how the container ended: lost when the engine does not know it; undefined when it has not ended, or the
 * engine cannot say: the next listing asks again.
 */
async function inspectExit(docker: Dockerode, containerId: string): Promise<Exit | undefined> {
  try {
    const inspecting = docker
      .getContainer(containerId)
      .inspect({ abortSignal: AbortSignal.timeout(INSPECT_MS) });
    const info = await accepting([404], inspecting);
    if (info === undefined) return lostAt(new Date());
    return stateOf(info.State.Status) === 'ended' ? exitOf(info.State) : undefined;
  } catch {
    return undefined;
  }
}

const lostAt = (at: Date): Exit => ({ kind: 'lost', exitCode: null, oomKilled: false, at });
