import type { k8s } from '../../imports/k8s.ts';
import { HARDENED_CONTAINER, HARDENED_POD } from '../pod-security.ts';
import { mebibyteQuantity } from '../quantity.ts';
import { runResources } from '../run-size.ts';
import type { CheckedRunPodProps } from './run-pod-props.ts';

const RUN_FOLDER = '/run/wormhole';
const CLAIM_TOKEN = 'claim-token';

/** The shortest that Kubernetes issues; the kubelet renews it while the pod lives. */
const TOKEN_SECONDS = 600;

/** Nothing listens there: a lookup fails at once, and no name leaves the pod as a query. */
const NO_DNS = '127.0.0.1';

/** A scale-down would end a run that may not be retried. */
export const RUN_POD_ANNOTATIONS: Readonly<Record<string, string>> = {
  'cluster-autoscaler.kubernetes.io/safe-to-evict': 'false',
  'karpenter.sh/do-not-disrupt': 'true',
};

const container = (props: CheckedRunPodProps): k8s.Container => ({
  name: 'runner',
  image: props.image,
  imagePullPolicy: 'IfNotPresent',
  env: [
    { name: 'WORMHOLE_GATEWAY_URL', value: props.gateway.url },
    { name: 'WORMHOLE_GATEWAY_CA', value: props.gateway.ca },
    { name: 'WORMHOLE_CLAIM_TOKEN_FILE', value: `${RUN_FOLDER}/${CLAIM_TOKEN}` },
  ],
  resources: { requests: runResources(props.size), limits: runResources(props.size) },
  securityContext: HARDENED_CONTAINER,
  volumeMounts: [
    { name: 'gateway-token', mountPath: RUN_FOLDER, readOnly: true },
    { name: 'tmp', mountPath: '/tmp' },
  ],
});

const volumes = (props: CheckedRunPodProps): k8s.Volume[] => [
  {
    name: 'gateway-token',
    projected: {
      // Owner-only: the kubelet gives the file to runAsUser, so no fsGroup has to open it to a group.
      defaultMode: 0o400,
      sources: [
        {
          serviceAccountToken: {
            audience: props.gateway.audience,
            expirationSeconds: TOKEN_SECONDS,
            path: CLAIM_TOKEN,
          },
        },
      ],
    },
  },
  {
    name: 'tmp',
    emptyDir: {
      medium: 'Memory',
      sizeLimit: mebibyteQuantity(Math.min(props.size.tmpMb, props.size.memoryMb)),
    },
  },
];

/** @returns the pod of a run: one container, no right, no name service, nothing of the host. Satisfies `restricted`. */
export const runPod = (props: CheckedRunPodProps): k8s.PodSpec => {
  const hostAliases = Object.entries(props.hosts).map(([hostname, ip]) => ({ hostnames: [hostname], ip }));
  return {
    restartPolicy: 'Never',
    terminationGracePeriodSeconds: props.terminationGracePeriodSeconds,
    serviceAccountName: props.serviceAccountName,
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    dnsPolicy: 'None',
    dnsConfig: { nameservers: [NO_DNS] },
    securityContext: HARDENED_POD,
    containers: [container(props)],
    volumes: volumes(props),
    ...(hostAliases.length === 0 ? {} : { hostAliases }),
    ...props.placement,
  };
};
