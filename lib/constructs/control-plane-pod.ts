import { k8s } from '../../imports/k8s.ts';
import { HARDENED_CONTAINER, HARDENED_POD, NONROOT_ID } from '../pod-security.ts';
import { CONFIG_MAP } from '../platform-names.ts';
import { cpuQuantity, mebibyteQuantity } from '../quantity.ts';
import type { CheckedControlPlaneComponentProps } from './control-plane-props.ts';
import { GATEWAY_TLS_SECRET } from './control-plane-secrets.ts';
import { controlPlanePriorityClassName } from './priority-classes.ts';

const CONFIG_FOLDER = '/etc/wormhole';
const SECRETS_FOLDER = '/run/secrets/wormhole';
const TLS_FOLDER = '/run/secrets/wormhole-tls';

/** A pod may use this many cores when nobody else wants them. */
const BURST_CPUS = 2;
const TMP_MB = 64;
const STORAGE_MB = 256;

/** What distinguishes one component's pod from another's. */
export interface ComponentPod {
  /** The command of `wormhole`, also the container's name. */
  readonly command: string;
  readonly serviceAccountName: string;
  /** Whether it talks to the API server. */
  readonly apiAccess: boolean;
  /** The port that it serves, besides its probes. */
  readonly port?: { readonly name: string; readonly containerPort: number };
  /** The Secrets whose keys it reads as files, each named as a variable. */
  readonly secrets: readonly k8s.SecretProjection[];
  /** The keys of the Secret `wormhole-gateway-tls` that it needs. */
  readonly tls?: readonly string[];
  /** Seconds from SIGTERM to SIGKILL. */
  readonly terminationGracePeriodSeconds: number;
}

/** Where a component answers probes, and Prometheus. */
export const PROBES_PORT = { name: 'probes', containerPort: 8081, protocol: 'TCP' } as const;
const probe = (path: string, periodSeconds: number, failureThreshold: number): k8s.Probe => ({
  httpGet: { path, port: k8s.IntOrString.fromString(PROBES_PORT.name), scheme: 'HTTP' },
  periodSeconds,
  failureThreshold,
  timeoutSeconds: 5,
});

const resources = ({
  cpus,
  memoryMb,
}: CheckedControlPlaneComponentProps['size']): k8s.ResourceRequirements => {
  const fixed = { memory: mebibyteQuantity(memoryMb), 'ephemeral-storage': mebibyteQuantity(STORAGE_MB) };
  const cpu = (cores: number): k8s.Quantity => cpuQuantity(Math.ceil(Number((cores * 1000).toFixed(3))));
  return {
    requests: { cpu: cpu(cpus), ...fixed },
    limits: { cpu: cpu(Math.max(BURST_CPUS, cpus)), ...fixed },
  };
};

const volumes = ({ secrets, tls }: ComponentPod): k8s.Volume[] => [
  { name: 'config', configMap: { name: CONFIG_MAP.name } },
  { name: 'secrets', projected: { defaultMode: 0o440, sources: secrets.map((secret) => ({ secret })) } },
  ...(tls
    ? [
        {
          name: 'tls',
          secret: {
            secretName: GATEWAY_TLS_SECRET,
            defaultMode: 0o440,
            items: tls.map((key) => ({ key, path: key })),
          },
        },
      ]
    : []),
  { name: 'tmp', emptyDir: { sizeLimit: mebibyteQuantity(TMP_MB) } },
];

const container = (component: ComponentPod, props: CheckedControlPlaneComponentProps): k8s.Container => ({
  name: component.command,
  image: props.image,
  imagePullPolicy: 'IfNotPresent',
  args: [component.command, '--config', `${CONFIG_FOLDER}/${CONFIG_MAP.file}`],
  env: [{ name: 'WORMHOLE_SECRETS_DIR', value: SECRETS_FOLDER }],
  ports: [...(component.port ? [{ ...component.port, protocol: 'TCP' }] : []), PROBES_PORT],
  resources: resources(props.size),
  securityContext: HARDENED_CONTAINER,
  // A start includes migrations; afterwards a probe that fails three times in a row is an outage.
  startupProbe: probe('/healthz', 1, 120),
  livenessProbe: probe('/healthz', 10, 3),
  readinessProbe: probe('/readyz', 5, 2),
  volumeMounts: [
    { name: 'config', mountPath: CONFIG_FOLDER, readOnly: true },
    { name: 'secrets', mountPath: SECRETS_FOLDER, readOnly: true },
    ...(component.tls ? [{ name: 'tls', mountPath: TLS_FOLDER, readOnly: true }] : []),
    { name: 'tmp', mountPath: '/tmp' },
  ],
});

/** @returns the pod of a control plane component, as hardened as a run's. Satisfies `restricted`. */
export const controlPlanePod = (
  component: ComponentPod,
  props: CheckedControlPlaneComponentProps,
  labels: Record<string, string>,
): k8s.PodSpec => ({
  serviceAccountName: component.serviceAccountName,
  automountServiceAccountToken: component.apiAccess,
  enableServiceLinks: false,
  // A public name is looked up as it is, not below the cluster's own domains first.
  dnsConfig: { options: [{ name: 'ndots', value: '1' }] },
  priorityClassName: controlPlanePriorityClassName(props.instance),
  terminationGracePeriodSeconds: component.terminationGracePeriodSeconds,
  // The kubelet gives the files of a Secret to root and to this group.
  securityContext: { ...HARDENED_POD, fsGroup: NONROOT_ID, fsGroupChangePolicy: 'OnRootMismatch' },
  topologySpreadConstraints: ['kubernetes.io/hostname', 'topology.kubernetes.io/zone'].map((topologyKey) => ({
    maxSkew: 1,
    topologyKey,
    // A cluster that has but one node or zone left keeps its control plane.
    whenUnsatisfiable: 'ScheduleAnyway',
    labelSelector: { matchLabels: labels },
    matchLabelKeys: ['pod-template-hash'],
  })),
  containers: [container(component, props)],
  volumes: volumes(component),
});
