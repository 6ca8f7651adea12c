import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { Chart } from 'cdk8s';
import pg from 'pg';
import { stringify } from 'yaml';
import { ApiClient } from '../controller/backends/kubernetes/api-client.ts';
import { connectClient, type Client } from '../controller/client.ts';
import { loadEnvironment } from '../controller/config.ts';
import { makeDemoFolder, removeDemoFolder } from '../controller/demo/demo-folder.ts';
import { tenantIdSchema } from '../controller/model/ids.ts';
import { loadOrCreateKeyFile } from '../controller/secrets/key-file.ts';
import { startPostgres } from '../controller/setup/postgres.ts';
import {
  ACCOUNTS,
  environmentApps,
  LABELS,
  MANAGED_BY,
  parseEnvironment,
  wormholeConfig,
} from '../lib/index.ts';
import { SIMULATED } from '../test/support/cluster/simulated-nodes.ts';
import { spawnCluster } from '../test/support/cluster/spawned-cluster.ts';
import { AuditLog } from './audit-log.ts';
import type { ApiAccess } from './bare-poster.ts';
import type { BenchContext } from './benchmark.ts';
import { ControllerProcess } from './controller-process.ts';
import { apply, kubectlOf } from './kubectl.ts';
import { until } from './until.ts';

/** Of 1,000 pods each: room for all runs that may be alive, and for pods that ended but are not yet seen to. */
const NODES = 4;
/** Runs of all tenants together that may be alive. */
export const MOST_LIVE = 2000;
const TENANT_COUNT = 10;
export const TENANTS = Array.from({ length: TENANT_COUNT }, (_, index) =>
  tenantIdSchema.parse(`load-${index}`),
);
const NAMESPACE = 'wormhole-system';
const PREFIX = 'wormhole-run';
/** An hour: pods may wait for the cluster's own controllers, which is none of ours. */
const PATIENCE_MS = 3_600_000;

/** What a platform team would declare for this. */
const ENVIRONMENT = {
  instance: 'wormhole',
  platformNamespace: NAMESPACE,
  tenantNamespacePrefix: PREFIX,
  // Nobody pulls them.
  images: { runner: 'wormhole-runner:bench', controlPlane: 'wormhole-control-plane:bench' },
  allowImageTag: true,
  maxConcurrent: MOST_LIVE,
  claimTimeoutMs: PATIENCE_MS,
  unschedulableTimeoutMs: PATIENCE_MS - 1000,
  // A simulated pod completes without a result: no attempt is to follow.
  retry: { attempts: 1 },
  tenants: TENANTS.map((id) => ({
    id,
    maxConcurrent: MOST_LIVE / TENANT_COUNT,
    limits: { cpus: 0.1, memoryMb: 64 },
  })),
  placement: {
    nodeSelector: { [SIMULATED]: 'true' },
    tolerations: [{ key: SIMULATED, operator: 'Equal', value: 'true', effect: 'NoSchedule' }],
  },
};
/** They would wait for a node that runs them. */
const NEEDS_A_NODE: ReadonlySet<unknown> = new Set(['Deployment', 'PodDisruptionBudget']);

/** A platform whose controller is real, and whose pods are not: a cluster of simulated nodes. */
export interface SimulatedPlatform extends AsyncDisposable {
  /** The controller's declared file. */
  readonly config: string;
  readonly api: ApiClient;
  /** The API server with the controller's rights. */
  readonly access: ApiAccess;
  readonly audit: AuditLog;
  readonly controllerUser: string;
  readonly pool: pg.Pool;
  /** The certificate authority that runs are told to trust. */
  readonly gatewayCa: string;
  /** @param redisUrl where the queue is. @default - in PostgreSQL */
  readonly startController: (redisUrl?: string) => Promise<ControllerProcess>;
  readonly connect: (redisUrl?: string) => Promise<Client>;
  /** Waits until every Job has finished, removes them all and waits until nothing of them is left. */
  readonly clear: () => Promise<void>;
}

/** @throws what is in the way. Nothing is left then. */
export async function openSimulatedPlatform(context: BenchContext): Promise<SimulatedPlatform> {
  const { progress, env, interrupt } = context;
  const signal = interrupt.stop;
  const log = (line: string): void => progress.step(line);
  await using opened = new AsyncDisposableStack();
  const folder = await makeDemoFolder();
  opened.defer(() => removeDemoFolder(folder));
  const cluster = await spawnCluster(['--control-plane-only', '--simulated-nodes', String(NODES)], log);
  if ('missing' in cluster) throw new Error(cluster.missing);
  opened.defer(() => cluster.value.stop());
  signal.throwIfAborted();
  const { facts } = cluster.value;
  if (facts.auditLog === null) throw new Error('a cluster of our own has an audit log');
  const audit = opened.use(await AuditLog.open(facts.auditLog));
  const kubectl = kubectlOf(facts.kubectl, signal);
  const environment = parseEnvironment('the benchmark', stringify(ENVIRONMENT));
  await apply(
    kubectl,
    environmentApps(environment, folder.path)
      .flatMap((app) => app.node.children.filter((child) => Chart.isChart(child)))
      .flatMap((chart) => chart.toJson() as { readonly kind: string }[])
      .filter(({ kind }) => !NEEDS_A_NODE.has(kind)),
  );

  const admin = new KubeConfig();
  admin.loadFromFile(facts.kubeconfig);
  const token = await kubectl([
    'create',
    'token',
    ACCOUNTS.controller,
    `--namespace=${NAMESPACE}`,
    '--duration=12h',
  ]);
  const access = accessOf(admin, token.trim());
  const at = (name: string): string => join(folder.path, name);
  await mkdir(at('tls'), { mode: 0o700 });
  await writeFile(at('tls/ca.crt'), access.ca);
  await writeFile(at('kubeconfig'), kubeconfigOf(access), { mode: 0o600 });
  await writeFile(at('wormhole.yaml'), wormholeConfig(environment));
  const { cacheDir } = loadEnvironment(env).paths;
  const postgres = await startPostgres({ dir: at('postgres'), cacheDir, durable: false, log });
  opened.defer(() => postgres.stop());
  const pool = new pg.Pool({ connectionString: postgres.url, max: 1 });
  opened.defer(() => pool.end());
  const encryptionKeys = await loadOrCreateKeyFile(at('encryption-keys'));
  const api = new ApiClient(admin);
  opened.defer(() => api.close());
  const jobs = `/apis/batch/v1/jobs`;
  const labelSelector = `${LABELS.managedBy}=${MANAGED_BY}`;
  const isEmpty = async (path: string, fieldSelector?: string): Promise<boolean> => {
    const { items } = (await api.send({ path, query: { labelSelector, fieldSelector, limit: 1 } })) as {
      readonly items: readonly unknown[];
    };
    return items.length === 0;
  };

  const parts = opened.move();
  return {
    config: at('wormhole.yaml'),
    ...{ api, access, audit, pool },
    gatewayCa: access.ca,
    controllerUser: `system:serviceaccount:${NAMESPACE}:${ACCOUNTS.controller}`,
    startController: (redisUrl) =>
      ControllerProcess.start({
        config: at('wormhole.yaml'),
        env: {
          PATH: env['PATH'] ?? '',
          HOME: folder.path,
          KUBECONFIG: at('kubeconfig'),
          DATABASE_URL: postgres.url,
          ...(redisUrl !== undefined && { REDIS_URL: redisUrl }),
          WORMHOLE_TLS_DIR: at('tls'),
          WORMHOLE_LISTEN_ADDRESS: '127.0.0.1',
          WORMHOLE_PROBE_PORT: '0',
        },
        logFile: at('controller.log'),
        signal,
      }),
    connect: (redisUrl) =>
      connectClient({
        databaseUrl: postgres.url,
        encryptionKeys,
        ...(redisUrl !== undefined && { redisUrl }),
      }),
    clear: async () => {
      await until(() => isEmpty(jobs, 'status.successful=0'), signal);
      for (const tenant of TENANTS) {
        await api.send({
          method: 'DELETE',
          path: `/apis/batch/v1/namespaces/${PREFIX}-${tenant}/jobs`,
          body: { propagationPolicy: 'Background' },
          timeoutMs: PATIENCE_MS,
        });
      }
      await until(async () => (await isEmpty(jobs)) && (await isEmpty('/api/v1/pods')), signal);
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** The namespace of a tenant. */
export const namespaceOf = (tenant: string): string => `${PREFIX}-${tenant}`;

function accessOf(config: KubeConfig, token: string): ApiAccess {
  const cluster = config.getCurrentCluster();
  if (cluster?.caData === undefined)
    throw new Error('the kubeconfig of a cluster of our own has its authority');
  return { server: cluster.server, ca: Buffer.from(cluster.caData, 'base64').toString(), token };
}

/** JSON is YAML. */
const kubeconfigOf = ({ server, ca, token }: ApiAccess): string =>
  JSON.stringify({
    ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'bench' },
    clusters: [
      {
        name: 'bench',
        cluster: { server, 'certificate-authority-data': Buffer.from(ca).toString('base64') },
      },
    ],
    users: [{ name: 'controller', user: { token } }],
    contexts: [{ name: 'bench', context: { cluster: 'bench', user: 'controller' } }],
  });
