import { App, Chart } from 'cdk8s';
import type { k8s } from '../../imports/k8s.ts';
import { RunJob, type RunJobProps } from '../../lib/index.ts';

export const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;

/** Shaped like a certificate; nothing reads it here. */
export const CA = `-----BEGIN CERTIFICATE-----\n${'MIIB'.repeat(16)}\nAQID\n-----END CERTIFICATE-----\n`;

export const REQUIRED_PROPS: RunJobProps = {
  runId: '01939f2e-7d3c-7c4a-9b1e-0242ac120002',
  attempt: 1,
  tenantId: 'acme',
  workflowVersionId: '01939f2e-7d3c-7c4a-9b1e-0242ac120003',
  instance: 'wormhole',
  namespace: 'wormhole-run-acme',
  image: `registry.example.com/wormhole/runner@${DIGEST}`,
  deadlineSeconds: 1830,
  gateway: { url: 'https://gateway.wormhole-system.svc:8443', ca: CA },
};

export const ALL_PROPS: RunJobProps = {
  ...REQUIRED_PROPS,
  attempt: 3,
  image: 'wormhole-runner:0.1.0',
  allowImageTag: true,
  size: { cpus: 0.25, memoryMb: 2048, tmpMb: 1024 },
  gateway: { url: 'https://gateway:8443', ca: CA + CA, audience: 'https://gateway.example.com' },
  hosts: { gateway: '10.96.0.10' },
  serviceAccountName: 'runner.acme',
  terminationGracePeriodSeconds: 30,
  queueName: 'runs',
  placement: {
    nodeSelector: { 'example.com/pool': 'runs' },
    tolerations: [
      { key: 'example.com/runs', operator: 'Exists', effect: 'NoSchedule' },
      { key: 'example.com/pool', operator: 'Equal', value: 'runs' },
    ],
    priorityClassName: 'wormhole-standard',
    runtimeClassName: 'gvisor',
    hostUsers: false,
  },
};

/** The manifest as the API server gets it: quantities are text or numbers. */
export type Manifest<Type> = Type extends k8s.Quantity | k8s.IntOrString
  ? string | number
  : Type extends object
    ? { readonly [Key in keyof Type]: Manifest<Type[Key]> }
    : Type;
export type JobManifest = Manifest<Required<k8s.KubeJobProps>>;

/** Renders a run as the controller does: in an app of its own that is thrown away. */
export const runJobManifest = (props: RunJobProps): JobManifest => {
  const chart = new Chart(new App(), 'run');
  new RunJob(chart, 'job', props);
  const [job] = chart.toJson() as JobManifest[];
  return job!;
};

/** @returns all objects of a chart as the API server gets them. */
export const manifestsOf = (fill: (chart: Chart) => void): Record<string, unknown>[] => {
  const chart = new Chart(new App(), 'chart');
  fill(chart);
  return chart.toJson() as Record<string, unknown>[];
};
