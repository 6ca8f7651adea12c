import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ApiClient } from '../controller/backends/kubernetes/api-client.ts';
import { jobPath } from '../controller/backends/kubernetes/job-path.ts';
import { runManifest } from '../controller/backends/kubernetes/run-manifest.ts';
import type { Tenant } from '../controller/model/tenant.ts';
import { ACCOUNTS } from '../lib/index.ts';
import type { ClusterTimeline, JobTimes } from './cluster-timeline.ts';
import { readJobOptions, strangeAttempt, type JobOptions } from './job-options.ts';
import { apply, type RunKubectl } from './kubectl.ts';
import { now } from './now.ts';

/**
 * A namespace without policies, quotas and rules: those of tenants refuse a pod that starts anything but the image's
 * program, and each of them takes time.
 */
const NAMESPACE = 'bench-bare';
/** No platform may take its Jobs for its own. */
const INSTANCE = 'bench';
/** Less cannot be done in the image: its interpreter, with the runner's options, starts and ends. */
const NOTHING = ['/usr/bin/python3', '-I', '-X', 'utf8', '-c', 'pass'];

/** One Job, and when what became of it: milliseconds since the epoch. */
export interface BareRun {
  readonly posted: number;
  /** The API server answered. */
  readonly answered: number;
  readonly times: JobTimes;
}

export interface BareJobOptions {
  readonly api: ApiClient;
  readonly kubectl: RunKubectl;
  readonly timeline: ClusterTimeline;
  /** A folder for a file. */
  readonly folder: string;
  /** Whose runs' size its pods have. */
  readonly tenant: Tenant;
  readonly platformNamespace: string;
}

interface JobManifest {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly template: {
      readonly spec: { readonly containers: readonly object[] };
    };
  };
}

/**
 * What the platform is measured against: a Job of the same image and of the same pod, but for what it starts, posted
 * straight to the API server and watched by a bare pod watch.
 */
export class BareJob {
  readonly #options: BareJobOptions;
  readonly #job: JobOptions;

  private constructor(options: BareJobOptions, job: JobOptions) {
    this.#options = options;
    this.#job = job;
  }

  /** Makes its namespace. */
  static async prepare(options: BareJobOptions): Promise<BareJob> {
    const { api, kubectl, folder, platformNamespace } = options;
    const at = ['configmap', 'wormhole-config', `--namespace=${platformNamespace}`];
    const file = join(folder, 'bare-job.yaml');
    await writeFile(file, await kubectl(['get', ...at, '--output=jsonpath={.data.wormhole\\.yaml}']));
    const ca = await kubectl([
      ...['get', 'secret', 'wormhole-gateway-tls', `--namespace=${platformNamespace}`],
      '--output=go-template={{index .data "ca.crt" | base64decode}}',
    ]);
    const job = { ...(await readJobOptions(file, api, ca)), instance: INSTANCE };
    const metadata = { name: ACCOUNTS.runner, namespace: NAMESPACE };
    await apply(kubectl, [
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
      { apiVersion: 'v1', kind: 'ServiceAccount', metadata, automountServiceAccountToken: false },
    ]);
    return new BareJob(options, job);
  }

  /** Posts one and waits until it is complete. */
  async once(signal: AbortSignal): Promise<BareRun> {
    const { api, tenant, timeline } = this.#options;
    const manifest = runManifest(strangeAttempt(tenant), NAMESPACE, this.#job) as unknown as JobManifest;
    const { spec } = manifest;
    const pod = spec.template.spec;
    const body = {
      ...manifest,
      spec: {
        ...spec,
        template: {
          ...spec.template,
          spec: { ...pod, containers: pod.containers.map((one) => ({ ...one, command: NOTHING })) },
        },
      },
    };
    const posted = now();
    await api.send({ method: 'POST', path: jobPath(NAMESPACE), body, signal });
    const answered = now();
    const times = await timeline.whole(manifest.metadata.name, signal);
    return { posted, answered, times };
  }
}
