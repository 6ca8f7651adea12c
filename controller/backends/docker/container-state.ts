import type { ContainerInspectInfo } from 'dockerode';
import { identityOf } from '../attempt-labels.ts';
import type { BackendAttempt, Exit } from '../types.ts';

/** @returns our word for the engine's state of a container. */
export function stateOf(engineState: string): BackendAttempt['state'] {
  switch (engineState) {
    case 'created':
      return 'created';
    case 'exited':
    case 'dead':
    case 'removing':
      return 'ended';
    default:
      return 'running';
  }
}

/** @returns how an ended container ended. */
export const exitOf = (state: ContainerInspectInfo['State']): Exit => ({
  kind: 'exited',
  exitCode: state.ExitCode,
  oomKilled: state.OOMKilled,
  at: new Date(state.FinishedAt),
});

/** @returns the attempt that an inspected container is, or undefined when it is not one of ours. */
export function attemptOf(info: ContainerInspectInfo): BackendAttempt | undefined {
  const identity = identityOf(info.Config.Labels);
  if (identity === undefined) return undefined;
  const state = stateOf(info.State.Status);
  return {
    ...identity,
    containerId: info.Id,
    state,
    ...(state === 'ended' ? { exit: exitOf(info.State) } : {}),
  };
}
