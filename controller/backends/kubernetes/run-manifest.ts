import { App, Chart } from 'cdk8s';
import { RunJob } from '../../../lib/constructs/run-job.ts';
import type { RunPlacement } from '../../../lib/constructs/run-pod-props.ts';
import type { AttemptSpec } from '../types.ts';

/** What all runs of a platform have in common. */
export interface RunManifestOptions {
  readonly instance: string;
  readonly image: string;
  readonly allowImageTag: boolean;
  readonly gateway: { readonly url: string; readonly audience: string; readonly ca: string };
  /** Names that a run can resolve, and their addresses. */
  readonly hosts: Readonly<Record<string, string>>;
  readonly placement: RunPlacement;
  /** Kueue's queue, where it admits runs. */
  readonly queueName?: string;
}

/** The runner and the controller end a run at its deadline; Kubernetes, which keeps no result, only if both failed. */
const DEADLINE_MARGIN_MS = 15_000;
/** RunJob's limit: 24 hours and what a node and an image may take. */
const LONGEST_DEADLINE_S = 25 * 60 * 60;

/** The Job of an attempt, as it is posted. */
export interface RunManifest {
  readonly metadata: {
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
  };
}

/**
 * @param namespace the tenant's.
 * @returns the attempt's Job. Nothing secret is in it. The same attempt gives the same but for `activeDeadlineSeconds`.
 * @throws {InvalidValueError} with every value that a Job cannot have.
 */
export function runManifest(spec: AttemptSpec, namespace: string, options: RunManifestOptions): RunManifest {
  // An App for each: one that grows gets slower with every run.
  const chart = new Chart(new App(), 'run');
  const { instance, image, allowImageTag, gateway, hosts, placement, queueName } = options;
  const { cpus, memoryMb, tmpMb } = spec.limits;
  const leftMs = spec.deadlineInMs + DEADLINE_MARGIN_MS;
  new RunJob(chart, 'run', {
    runId: spec.runId,
    attempt: spec.attempt,
    tenantId: spec.tenantId,
    workflowVersionId: spec.workflowVersionId,
    namespace,
    size: { cpus, memoryMb, tmpMb },
    deadlineSeconds: Math.min(LONGEST_DEADLINE_S, Math.max(1, Math.ceil(leftMs / 1000))),
    ...{ instance, image, allowImageTag, gateway, hosts, placement },
    ...(queueName === undefined ? {} : { queueName }),
  });
  const [manifest] = chart.toJson() as [RunManifest];
  return manifest;
}
