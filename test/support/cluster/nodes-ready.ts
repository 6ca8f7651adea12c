import { apiRequest } from './api-request.ts';
import { until } from './until.ts';

/** Kubernetes keeps pods off a node by these until some time after it is Ready. */
const TAINTS = 'node.kubernetes.io/';

/** Of the API's Node, what is read here. */
interface NodeObject {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly taints?: readonly { readonly key: string }[] };
  readonly status: {
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

/** Waits until all nodes that there are take pods. */
export async function untilNodesReady(kubeconfig: string, timeoutMs: number): Promise<void> {
  await until('every node', timeoutMs, async () => {
    const { items } = JSON.parse(await apiRequest(kubeconfig, '/api/v1/nodes')) as { items: NodeObject[] };
    const unready = items.find((node) => !isReady(node));
    if (unready !== undefined) throw new Error(`the node ${unready.metadata.name} is not Ready`);
  });
}

function isReady({ spec, status }: NodeObject): boolean {
  return (
    (status.conditions ?? []).some(({ type, status: value }) => type === 'Ready' && value === 'True') &&
    !(spec.taints ?? []).some(({ key }) => key.startsWith(TAINTS))
  );
}
