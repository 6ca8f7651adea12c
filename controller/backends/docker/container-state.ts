import type { ContainerInspectInfo } from 'dockerode';
import { z } from 'zod';
import { runIdSchema, tenantIdSchema } from '../../model/ids.ts';
import { LABELS } from '../../model/labels.ts';
import type { BackendAttempt, Exit } from '../types.ts';

const identitySchema = z
  .object({
    [LABELS.runId]: runIdSchema,
    [LABELS.attempt]: z
      .string()
      .regex(/^[1-9][0-9]{0,5}$/)
      .transform(Number),
    [LABELS.tenantId]: tenantIdSchema,
  })
  .transform((labels) => ({
    runId: labels[LABELS.runId],
    attempt: labels[LABELS.attempt],
    tenantId: labels[LABELS.tenantId],
  }));

/** Which attempt of which tenant a container is. */
export type ContainerIdentity = z.infer<typeof identitySchema>;

/** @returns what a container's labels say, or undefined when somebody else wrote them. */
export const identityOf = (labels: unknown): ContainerIdentity | undefined =>
  identitySchema.safeParse(labels).data;

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
