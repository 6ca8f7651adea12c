import { KubeConfig } from '@kubernetes/client-node';
import { App, Chart } from 'cdk8s';
import { pino } from 'pino';
import { ApiClient, type ApiRequest } from '../../controller/backends/kubernetes/api-client.ts';
import { accepting } from '../../controller/backends/kubernetes/api-error.ts';
import { selector } from '../../controller/backends/kubernetes/identity.ts';
import { jobPath } from '../../controller/backends/kubernetes/job-path.ts';
import {
  KubernetesBackend,
  type KubernetesBackendOptions,
} from '../../controller/backends/kubernetes/kubernetes-backend.ts';
import { listAll } from '../../controller/backends/kubernetes/list-all.ts';
import { isFinished } from '../../controller/backends/kubernetes/pod-exit.ts';
import { jobSchema, podSchema, type Pod } from '../../controller/backends/kubernetes/objects.ts';
import { isFinishedJob } from '../../controller/backends/kubernetes/survey.ts';
import type { RunLimits } from '../../controller/backends/types.ts';
import { ControllerClusterRole, TenantChart } from '../../lib/index.ts';
import type { ClusterFacts } from './cluster/facts.ts';
import { newInstance } from './attempts.ts';
import { until } from './cluster/until.ts';

/** The size of the runs of these tests: many fit on a node with two cores. */
export const SMALL: RunLimits = { cpus: 0.1, memoryMb: 64, pids: 32, tmpMb: 8 };

const PLATFORM = 'wormhole-tests';
const CA = `-----BEGIN CERTIFICATE-----\n${'MIIB'.repeat(16)}\n-----END CERTIFICATE-----\n`;

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: object };
  readonly [part: string]: unknown;
}

export interface KubernetesBackendUnderTest {
  readonly backend: KubernetesBackend;
  /** With all rights, to look and to interfere. */
  readonly admin: ApiClient;
  readonly instance: string;
  /** The namespace of the tenant "acme". */
  readonly namespace: string;
  /** The writes that the backends sent, e.g. `POST jobs`. */
  readonly writes: readonly string[];
  /** What was logged as a warning or worse. */
  readonly warnings: readonly string[];
  /** @returns the pods of runs there. */
  readonly pods: () => Promise<Pod[]>;
  /** Another backend of the same instance, as after a restart of the controller. */
  readonly another: () => KubernetesBackend;
  /** @returns names of Jobs and pods that will not go by themselves, after giving what was told to go some time. */
  readonly leftovers: () => Promise<string[]>;
  readonly dispose: () => Promise<void>;
}

class RecordingClient extends ApiClient {
  readonly #writes: string[];

  constructor(config: KubeConfig, writes: string[]) {
    super(config);
    this.#writes = writes;
  }

  override async send(call: ApiRequest): Promise<unknown> {
    const { method = 'GET', path } = call;
    if (method !== 'GET') this.#writes.push(`${method} ${/(?:jobs|pods)/.exec(path)?.[0] ?? path}`);
    return await super.send(call);
  }
}

/** Makes a backend with the controller's rights and nothing more, and a namespace of the tenant "acme" for it. */
export async function kubernetesBackend(
  cluster: Pick<ClusterFacts, 'kubeconfig'>,
  options: Partial<KubernetesBackendOptions> & {
    readonly image: string;
    readonly maxConcurrent?: number;
    /** Where the backend finds the API server. @default - where the kubeconfig says */
    readonly server?: string;
  },
): Promise<KubernetesBackendUnderTest> {
  const { maxConcurrent = 10, server, ...rest } = options;
  const instance = options.instance ?? newInstance();
  const namespace = `${instance}-acme`;
  const admin = new ApiClient(configOf(cluster.kubeconfig));
  await provision(admin, instance, namespace, maxConcurrent);
  const warnings: string[] = [];
  const writes: string[] = [];
  const clients = [admin];
  const backends: KubernetesBackend[] = [];
  const another = (): KubernetesBackend => {
    const api = new RecordingClient(configOf(cluster.kubeconfig, { asController: true, server }), writes);
    clients.push(api);
    const backend = new KubernetesBackend({
      api,
      tenantNamespacePrefix: instance,
      allowImageTag: true,
      gateway: { url: 'https://wormhole-gateway.example:8443', audience: 'wormhole-gateway', ca: () => CA },
      hosts: () => Promise.resolve({ 'wormhole-gateway.example': '10.0.0.1' }),
      placement: {},
      unschedulableTimeoutMs: 30_000,
      log: pino({ level: 'warn' }, { write: (line) => void warnings.push(line) }),
      ...rest,
      instance,
    });
    backends.push(backend);
    return backend;
  };
  const query = { labelSelector: selector(instance, 'run') };
  const pods = async (): Promise<Pod[]> =>
    (await listAll(admin, podSchema, { path: podsPath(namespace), query })).items;
  const staying = async (): Promise<string[]> => {
    const { items: jobs } = await listAll(admin, jobSchema, { path: jobPath(namespace), query });
    const going = (o: { metadata: { deletionTimestamp?: Date | undefined } }): boolean =>
      o.metadata.deletionTimestamp !== undefined;
    return [
      ...jobs.filter((job) => !isFinishedJob(job) && !going(job)).map((job) => `Job ${job.metadata.name}`),
      ...(await pods()).filter((pod) => !isFinished(pod)).map((pod) => `pod ${pod.metadata.name}`),
    ];
  };
  const controller = new ApiClient(configOf(cluster.kubeconfig, { asController: true }));
  clients.push(controller);
  await until('the rights of the controller', 10_000, () => controller.send({ path: jobPath(namespace) }));
  return {
    backend: another(),
    admin,
    instance,
    namespace,
    warnings,
    writes,
    pods,
    another,
    leftovers: async () => {
      await until('the runs to be gone', 20_000, async () => {
        const left = await staying();
        if (left.length > 0) throw new Error(left.join(', '));
      }).catch(() => undefined);
      return await staying();
    },
    dispose: async () => {
      for (const backend of backends) await backend.close();
      await accepting([404], admin.send({ method: 'DELETE', path: `/api/v1/namespaces/${namespace}` }));
      for (const kind of ['clusterroles', 'clusterrolebindings']) {
        const path = `/apis/rbac.authorization.k8s.io/v1/${kind}/${instance}-controller`;
        await accepting([404], admin.send({ method: 'DELETE', path }));
      }
      for (const client of clients) client.close();
    },
  };
}

async function provision(
  admin: ApiClient,
  instance: string,
  namespace: string,
  maxConcurrent: number,
): Promise<void> {
  const app = new App();
  const tenant = new TenantChart(app, 'tenant', {
    ...{ tenantId: 'acme', instance, namespace, maxConcurrent },
    platformNamespace: PLATFORM,
    size: { cpus: SMALL.cpus, memoryMb: SMALL.memoryMb, tmpMb: SMALL.tmpMb },
  });
  const platform = new Chart(app, 'platform');
  new ControllerClusterRole(platform, 'controller', { instance, platformNamespace: PLATFORM });
  for (const manifest of [...(platform.toJson() as Manifest[]), ...(tenant.toJson() as Manifest[])]) {
    await create(admin, manifest);
  }
}

/** Creates an object, whatever its kind. */
export async function create(admin: ApiClient, manifest: Manifest): Promise<void> {
  const group = manifest.apiVersion.includes('/') ? `/apis/${manifest.apiVersion}` : '/api/v1';
  const { namespace } = manifest.metadata;
  const scope = namespace === undefined ? '' : `/namespaces/${namespace}`;
  const plural = `${manifest.kind.toLowerCase().replace(/y$/, 'ie').replace(/s$/, 'se')}s`;
  await admin.send({ method: 'POST', path: `${group}${scope}/${plural}`, body: manifest });
}

export const podsPath = (namespace: string): string => `/api/v1/namespaces/${namespace}/pods`;

/** @returns the kubeconfig's cluster, as its administrator or with the controller's rights. */
export function configOf(
  kubeconfig: string,
  options: { readonly asController?: boolean; readonly server?: string | undefined } = {},
): KubeConfig {
  const config = new KubeConfig();
  config.loadFromFile(kubeconfig);
  const cluster = config.getCurrentCluster();
  const user = config.getCurrentUser();
  if (cluster === null || user === null) throw new Error(`${kubeconfig} has no current context`);
  const impersonateUser = `system:serviceaccount:${PLATFORM}:wormhole-controller`;
  const changed = new KubeConfig();
  changed.loadFromClusterAndUser(
    {
      ...cluster,
      ...(options.server === undefined
        ? {}
        : // Its certificate is for the server's own address.
          { server: options.server, skipTLSVerify: true }),
    },
    options.asController === true ? { ...user, impersonateUser } : user,
  );
  return changed;
}
