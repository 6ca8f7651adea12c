import { execFile } from 'node:child_process';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type Dockerode from 'dockerode';
import { Interrupt } from '../../controller/cli/interrupt.ts';
import { loadEnvironment } from '../../controller/config.ts';
import { openKubernetesStage, type KubernetesStage } from '../../controller/demo/kubernetes-stage.ts';
import type { RunId } from '../../controller/model/ids.ts';
import { LABELS } from '../../controller/model/labels.ts';
import { until } from './cluster/until.ts';
import { probeImage } from './probe-image.ts';

/** Where the control plane of dist/dev is. */
export const PLATFORM_NAMESPACE = 'wormhole-system';
const RUNNER_IMAGE = 'docker.io/library/wormhole-runner:dev';
const POD_MS = 30_000;

/** What tests read of a pod. */
export interface PodObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels: object;
    readonly annotations: object;
    readonly ownerReferences: readonly object[];
  };
  readonly spec: Readonly<Record<string, unknown>>;
  readonly status: { readonly phase: string; readonly podIP?: string };
}

/** The whole platform of dist/dev on a cluster of its own, opened as the demo opens it, and what tests do to it. */
export class PlatformOnCluster implements AsyncDisposable {
  readonly stage: KubernetesStage;
  readonly #engine: Dockerode;
  readonly #interrupt: Interrupt;

  private constructor(stage: KubernetesStage, engine: Dockerode, interrupt: Interrupt) {
    this.stage = stage;
    this.#engine = engine;
    this.#interrupt = interrupt;
  }

  static async open(engine: Dockerode): Promise<PlatformOnCluster> {
    const { socketPath = '' } = engine.modem as { socketPath?: string };
    const env = { ...process.env, DOCKER_HOST: `unix://${socketPath}` };
    const interrupt = new Interrupt();
    const stage = await openKubernetesStage({
      session: { env, interrupt, streams: process },
      environment: loadEnvironment(env),
      tellStep: () => undefined,
    });
    return new PlatformOnCluster(stage, engine, interrupt);
  }

  /** Runs kubectl as the cluster's administrator. @returns its standard output. */
  kubectl(args: readonly string[], stdin?: string): Promise<string> {
    return this.stage.cluster.kubectl(args, stdin);
  }

  /** @returns the pods of a component of the control plane. */
  async podsOf(component: 'controller' | 'gateway' | 'egress-proxy'): Promise<PodObject[]> {
    return await this.#pods(PLATFORM_NAMESPACE, `${LABELS.component}=${component}`);
  }

  /** @returns the pods of a run's attempts. */
  async podsOfRun(tenantId: string, runId: RunId): Promise<PodObject[]> {
    return await this.#pods(`wormhole-run-${tenantId}`, `${LABELS.runId}=${runId}`);
  }

  /** @returns the pod of a run once it has an address. */
  async podWithAddress(tenantId: string, runId: RunId): Promise<PodObject & { readonly address: string }> {
    return await until(`a pod of run ${runId}`, POD_MS, async () => {
      const [pod] = await this.podsOfRun(tenantId, runId);
      const address = pod?.status.podIP;
      if (pod === undefined || address === undefined) throw new Error('it has no address');
      return { ...pod, address };
    });
  }

  async #pods(namespace: string, selector: string): Promise<PodObject[]> {
    const pods = await this.kubectl([
      ...['get', 'pods', `--namespace=${namespace}`, `--selector=${selector}`, '--output=json'],
    ]);
    return (JSON.parse(pods) as { items: PodObject[] }).items;
  }

  /**
   * From now on runs get, under the name of the runner's image, one with busybox that executes a script: all that the
   * cluster asks of a run still holds for it.
   */
  async replaceRunner(script: string): Promise<void> {
    const image = await probeImage(this.#engine, script);
    const { cluster } = this.stage;
    await cluster.loadImage(image);
    const socket = join(dirname(cluster.kubeconfig), 'containerd.sock');
    await promisify(execFile)('ctr', [
      ...['--address', socket, '--namespace', 'k8s.io', 'images', 'tag', '--force'],
      ...[`docker.io/library/${image}`, RUNNER_IMAGE],
    ]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stage[Symbol.asyncDispose]();
    this.#interrupt.signal('SIGTERM');
  }
}
