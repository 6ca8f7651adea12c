import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type Dockerode from 'dockerode';
import { connectClient, type Client } from '../client.ts';
import { messageOf, WormholeError } from '../errors.ts';
import { LABELS, MANAGED_BY } from '../model/labels.ts';
import { connectEngine } from '../setup/engine.ts';
import { ensureControlPlaneImage } from '../setup/control-plane-image.ts';
import { ensureRunnerImage } from '../setup/image.ts';
import { makeSecrets } from '../setup/secrets.ts';
import { startPostgres } from '../setup/postgres.ts';
import { startCluster, type ClusterProcess } from './cluster-process.ts';
import { makeDemoFolder } from './demo-folder.ts';
import { removeDemo, removeLeftovers } from './leftovers.ts';
import { DEMO_TENANTS, demoInternalService } from './scenarios.ts';
import { startDemoService } from './service.ts';
import type { DemoStage, StageOptions } from './stage.ts';

/** What a platform team applies, or lets Argo CD apply: environments/dev.yaml, synthesized. */
const MANIFESTS = fileURLToPath(new URL('../../dist/dev', import.meta.url));
const NAMESPACE = 'wormhole-system';
const INSTANCE = 'wormhole';
const DEPLOYMENTS = ['wormhole-controller', 'wormhole-gateway', 'wormhole-egress-proxy'];
const READY_TIMEOUT_S = 180;
/** The pods of runs that have ended end within this long. */
const END_MS = 15_000;
const POLL_MS = 500;

/** A stage whose cluster can be looked at. */
export interface KubernetesStage extends DemoStage {
  readonly cluster: ClusterProcess;
  readonly databaseUrl: string;
}

/**
 * The platform as a cluster runs it: dist/dev applied to a cluster that is made for it, PostgreSQL and the service on
 * this machine.
 */
export async function openKubernetesStage({
  session,
  environment,
  tellStep,
}: StageOptions): Promise<KubernetesStage> {
  const { interrupt, env } = session;
  const { cacheDir } = environment.paths;
  await using opened = new AsyncDisposableStack();
  const engine = await connectEngine({
    dockerHost: environment.dockerHost,
    cacheDir,
    onProgress: tellStep,
  });
  opened.defer(() => engine.release());
  if (await removeLeftovers(engine.docker)) tellStep('removed what an earlier demo had left');
  const folder = await makeDemoFolder();
  opened.defer(() => removeDemo(engine.docker, folder));
  const { runnerImage, baseImage } = environment;
  const build = { cacheDir, baseImage, onProgress: tellStep };
  const runner = await ensureRunnerImage(engine, { ...build, runnerImage });
  const controlPlane = await ensureControlPlaneImage(engine, build);

  tellStep('starting a cluster');
  const { socketPath = '' } = engine.docker.modem as { socketPath?: string };
  const cluster = await startCluster({
    env: { ...env, DOCKER_HOST: `unix://${socketPath}` },
    onProgress: tellStep,
    signal: interrupt.stop,
  });
  opened.defer(() => cluster.stop());
  tellStep('loading the images into the cluster');
  await loadAsDev(cluster, engine.docker, 'wormhole-runner', runner.image);
  await loadAsDev(cluster, engine.docker, 'wormhole-control-plane', controlPlane.image);

  const postgres = await startPostgres({
    dir: join(folder.path, 'postgres'),
    cacheDir,
    durable: false,
    listenAddress: cluster.nodeAddress,
    log: tellStep,
  });
  opened.defer(() => postgres.stop());
  const service = await startDemoService(cluster.nodeAddress);
  opened.defer(() => service.stop());
  tellStep('applying the manifests of dist/dev');
  const secrets = await makeSecrets({
    namespace: NAMESPACE,
    instance: INSTANCE,
    databaseUrl: postgres.networkUrl ?? '',
    internalServices: [demoInternalService(service)],
  });
  // The namespace comes before the secrets, and they before the pods that mount them.
  await cluster.kubectl(['apply', '-f', join(MANIFESTS, 'cluster.k8s.yaml')]);
  const list = { apiVersion: 'v1', kind: 'List', items: secrets.manifests };
  await cluster.kubectl(['apply', '-f', '-'], JSON.stringify(list));
  await cluster.kubectl(['apply', '-f', MANIFESTS]);
  tellStep('waiting for the control plane');
  await waitForControlPlane(cluster);
  const client = await connectClient({ databaseUrl: postgres.url, encryptionKeys: secrets.encryptionKeys });
  opened.defer(() => client.close());
  await untilTenantsAreDeclared(client, interrupt.stop);

  const parts = opened.move();
  return {
    client,
    facts: { engine: `Kubernetes at ${cluster.nodeAddress}, one node`, image: runner.name },
    connections: service.connections,
    cluster,
    databaseUrl: postgres.url,
    stop: () => untilNoneIsLive(cluster),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** The names that environments/dev.yaml declares. */
async function loadAsDev(
  cluster: ClusterProcess,
  docker: Dockerode,
  name: string,
  image: string,
): Promise<void> {
  await docker.getImage(image).tag({ repo: name, tag: 'dev' });
  await cluster.loadImage(`${name}:dev`);
}

/** @throws {WormholeError} BACKEND_FAILED, with what the cluster tells of its pods. */
async function waitForControlPlane(cluster: ClusterProcess): Promise<void> {
  try {
    await Promise.all(
      DEPLOYMENTS.map((name) =>
        cluster.kubectl([
          ...['rollout', 'status', `deployment/${name}`, `--namespace=${NAMESPACE}`],
          `--timeout=${READY_TIMEOUT_S}s`,
        ]),
      ),
    );
  } catch (error) {
    const namespace = `--namespace=${NAMESPACE}`;
    const told = await Promise.all([
      cluster.kubectl(['get', 'pods', namespace]),
      ...DEPLOYMENTS.map((name) => cluster.kubectl(['logs', namespace, `deployment/${name}`, '--tail=5'])),
    ]);
    throw new WormholeError(
      'BACKEND_FAILED',
      `the control plane did not become ready: ${messageOf(error)}\n${told.join('\n')}`,
      { cause: error },
    );
  }
}

/** A controller that stands by is ready as well: the one that leads declares them. */
async function untilTenantsAreDeclared(client: Client, signal: AbortSignal): Promise<void> {
  const patience = AbortSignal.any([signal, AbortSignal.timeout(READY_TIMEOUT_S * 1000)]);
  const declared = async (): Promise<Set<string>> => new Set((await client.tenants()).map(({ id }) => id));
  for (let ids = await declared(); !DEMO_TENANTS.every(({ id }) => ids.has(id)); ids = await declared()) {
    await delay(POLL_MS, undefined, { signal: patience });
  }
}

/** @returns what is alive when no more ends: a pod says that it has ended a moment after its container has. */
async function untilNoneIsLive(cluster: ClusterProcess): Promise<string[]> {
  const giveUpAt = Date.now() + END_MS;
  for (;;) {
    const live = await liveRunPods(cluster);
    if (live.length === 0 || Date.now() > giveUpAt) return live;
    await delay(POLL_MS);
  }
}

/** Pods that have ended stay until the TTL of their Jobs: they hold nothing but their logs. */
async function liveRunPods(cluster: ClusterProcess): Promise<string[]> {
  const names = await cluster.kubectl([
    ...['get', 'pods', '--all-namespaces', '--output=name'],
    `--selector=${LABELS.managedBy}=${MANAGED_BY},app.kubernetes.io/component=run`,
    '--field-selector=status.phase!=Succeeded,status.phase!=Failed',
  ]);
  return names.split('\n').filter((name) => name !== '');
}
