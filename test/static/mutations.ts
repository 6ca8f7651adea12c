import { JsonPatch } from 'cdk8s';
import { REQUIRED_PROPS, runJobManifest } from '../synth/run-job-manifest.ts';

/** One thing that makes the pod of a run unsafe, or not a run's. */
export interface PodMutation {
  readonly name: string;
  /** What is changed in a pod, or in the template of a Job. */
  readonly patch: readonly JsonPatch[];
  /** Part of what our own policy says. */
  readonly refusal: string;
  /** Part of what Pod Security `restricted` says, where it refuses the pod too. */
  readonly podSecurity?: string;
  /** A Job of such pods is no valid Job at all, and so nothing for a policy. */
  readonly podOnly?: true;
}

const RUNNER = '/spec/containers/0';
const TOKEN_SOURCE = '/spec/volumes/0/projected/sources/0/serviceAccountToken';
const CONTAINER = runJobManifest(REQUIRED_PROPS).spec.template.spec!.containers[0]!;

const set = (path: string, value: unknown): JsonPatch => JsonPatch.add(path, value);
const volume = (source: object): JsonPatch => set('/spec/volumes/-', { name: 'extra', ...source });

const COMMAND = 'starts what its image starts';
const PROBES = 'no lifecycle hooks and no probes';
const ENVIRONMENT = 'environment is written out';
const LIMITS = 'requests what it is limited to';
const HOST = "no namespace of the host's";
const DEFAULTS = "as the node's runtime has them";
const KINDS = 'volumes of two kinds';
const TOKEN = "a run's projected volume holds a token";
const LABELLED = 'is labelled as one of the instance';

export const POD_MUTATIONS: readonly PodMutation[] = [
  {
    name: 'a second container',
    patch: [set('/spec/containers/-', { ...CONTAINER, name: 'sidecar' })],
    refusal: 'a run has one container',
  },
  {
    name: 'a container of another name',
    patch: [set(`${RUNNER}/name`, 'runner2')],
    refusal: 'a run has one container',
  },
  {
    name: 'an init container',
    patch: [set('/spec/initContainers', [{ ...CONTAINER, name: 'init' }])],
    refusal: 'no init containers',
  },
  {
    name: 'another image',
    patch: [set(`${RUNNER}/image`, 'registry.example.com/miner:1')],
    refusal: "a run's image is one of the platform's: ",
  },
  { name: 'a command', patch: [set(`${RUNNER}/command`, ['sh'])], refusal: COMMAND },
  { name: 'arguments', patch: [set(`${RUNNER}/args`, ['-c', 'id'])], refusal: COMMAND },
  { name: 'a working folder', patch: [set(`${RUNNER}/workingDir`, '/tmp')], refusal: COMMAND },
  {
    name: 'a hook after start',
    patch: [set(`${RUNNER}/lifecycle`, { postStart: { exec: { command: ['id'] } } })],
    refusal: PROBES,
  },
  {
    name: 'a probe of another host',
    patch: [set(`${RUNNER}/livenessProbe`, { httpGet: { host: '169.254.169.254', port: 80 } })],
    refusal: PROBES,
    podSecurity: 'probe or lifecycle host',
  },
  {
    name: 'a program as readiness probe',
    patch: [set(`${RUNNER}/readinessProbe`, { exec: { command: ['id'] } })],
    refusal: PROBES,
  },
  {
    name: 'a start-up probe',
    patch: [set(`${RUNNER}/startupProbe`, { tcpSocket: { port: 80 } })],
    refusal: PROBES,
  },
  { name: 'a port', patch: [set(`${RUNNER}/ports`, [{ containerPort: 80 }])], refusal: 'no ports' },
  {
    name: 'a port of the host',
    patch: [set(`${RUNNER}/ports`, [{ containerPort: 80, hostPort: 80 }])],
    refusal: 'no ports',
    podSecurity: 'hostPort',
  },
  {
    name: 'a variable from a Secret',
    patch: [
      set(`${RUNNER}/env/-`, { name: 'X', valueFrom: { secretKeyRef: { name: 'database', key: 'url' } } }),
    ],
    refusal: ENVIRONMENT,
  },
  {
    name: 'a known variable from a field',
    patch: [
      set(`${RUNNER}/env/0`, {
        name: 'WORMHOLE_GATEWAY_URL',
        valueFrom: { fieldRef: { fieldPath: 'metadata.namespace' } },
      }),
    ],
    refusal: ENVIRONMENT,
  },
  {
    name: 'all of a Secret as variables',
    patch: [set(`${RUNNER}/envFrom`, [{ secretRef: { name: 'database' } }])],
    refusal: ENVIRONMENT,
  },
  {
    name: 'an unknown variable',
    patch: [set(`${RUNNER}/env/-`, { name: 'LD_PRELOAD', value: '/tmp/x.so' })],
    refusal: ENVIRONMENT,
  },
  { name: 'no limits', patch: [set(`${RUNNER}/resources`, {})], refusal: LIMITS },
  {
    name: 'no limit of ephemeral storage',
    patch: [JsonPatch.remove(`${RUNNER}/resources/limits/ephemeral-storage`)],
    refusal: LIMITS,
  },
  {
    name: 'a smaller request than limit',
    patch: [set(`${RUNNER}/resources/requests/memory`, '1Mi')],
    refusal: LIMITS,
  },
  {
    name: 'a device',
    patch: [set(`${RUNNER}/resources/limits/example.com~1gpu`, '1')],
    refusal: 'no devices',
  },
  {
    name: 'a resource claim',
    patch: [set('/spec/resourceClaims', [{ name: 'gpu', resourceClaimName: 'gpu' }])],
    refusal: 'no devices',
  },
  {
    name: "the host's network",
    patch: [set('/spec/hostNetwork', true)],
    refusal: HOST,
    podSecurity: 'host namespaces (hostNetwork=true)',
  },
  {
    name: "the host's processes",
    patch: [set('/spec/hostPID', true)],
    refusal: HOST,
    podSecurity: 'host namespaces (hostPID=true)',
  },
  {
    name: "the host's IPC",
    patch: [set('/spec/hostIPC', true)],
    refusal: HOST,
    podSecurity: 'host namespaces (hostIPC=true)',
  },
  {
    name: 'one namespace of processes for the pod',
    patch: [set('/spec/shareProcessNamespace', true)],
    refusal: HOST,
  },
  { name: "the host's users by name", patch: [set('/spec/hostUsers', true)], refusal: HOST },
  {
    name: 'a privileged container',
    patch: [
      set(`${RUNNER}/securityContext/privileged`, true),
      set(`${RUNNER}/securityContext/allowPrivilegeEscalation`, true),
    ],
    refusal: 'not privileged',
    podSecurity: 'privileged',
  },
  {
    name: 'privilege escalation',
    patch: [set(`${RUNNER}/securityContext/allowPrivilegeEscalation`, true)],
    refusal: 'not privileged',
    podSecurity: 'allowPrivilegeEscalation != false',
  },
  {
    name: 'an added capability that restricted allows',
    patch: [set(`${RUNNER}/securityContext/capabilities/add`, ['NET_BIND_SERVICE'])],
    refusal: 'drops ALL capabilities and adds none',
  },
  {
    name: 'an added capability',
    patch: [set(`${RUNNER}/securityContext/capabilities/add`, ['NET_RAW'])],
    refusal: 'drops ALL capabilities and adds none',
    podSecurity: 'unrestricted capabilities',
  },
  {
    name: 'the capabilities of the runtime',
    patch: [set(`${RUNNER}/securityContext/capabilities`, {})],
    refusal: 'drops ALL capabilities and adds none',
    podSecurity: 'unrestricted capabilities',
  },
  {
    name: 'a writable root',
    patch: [set(`${RUNNER}/securityContext/readOnlyRootFilesystem`, false)],
    refusal: 'root file system is read-only',
  },
  {
    name: 'the root user',
    patch: [set(`${RUNNER}/securityContext/runAsUser`, 0)],
    refusal: 'a run is user 65532',
    podSecurity: 'runAsUser=0',
  },
  {
    name: 'another user',
    patch: [set(`${RUNNER}/securityContext/runAsUser`, 1000)],
    refusal: 'a run is user 65532',
  },
  {
    name: 'the root group',
    patch: [set(`${RUNNER}/securityContext/runAsGroup`, 0)],
    refusal: 'a run is user 65532',
  },
  {
    name: 'root allowed',
    patch: [set(`${RUNNER}/securityContext/runAsNonRoot`, false)],
    refusal: 'a run is user 65532',
    podSecurity: 'runAsNonRoot != true',
  },
  {
    name: 'a pod of the root user',
    patch: [set('/spec/securityContext/runAsUser', 0)],
    refusal: 'its pod is no other user',
    podSecurity: 'runAsUser=0',
  },
  {
    name: 'a file system group',
    patch: [set('/spec/securityContext/fsGroup', 0)],
    refusal: 'in no further group',
  },
  {
    name: 'a further group',
    patch: [set('/spec/securityContext/supplementalGroups', [0])],
    refusal: 'in no further group',
  },
  {
    name: 'no seccomp profile',
    patch: [set('/spec/securityContext/seccompProfile', { type: 'Unconfined' })],
    refusal: 'seccomp profile is RuntimeDefault',
    podSecurity: 'seccompProfile',
  },
  {
    name: "no seccomp profile in the container's own words",
    patch: [set(`${RUNNER}/securityContext/seccompProfile`, { type: 'Unconfined' })],
    refusal: 'seccomp profile is RuntimeDefault',
    podSecurity: 'seccompProfile',
  },
  {
    name: 'no AppArmor profile',
    patch: [set(`${RUNNER}/securityContext/appArmorProfile`, { type: 'Unconfined' })],
    refusal: DEFAULTS,
    podSecurity: 'forbidden AppArmor profile',
  },
  {
    name: 'an SELinux level',
    patch: [set('/spec/securityContext/seLinuxOptions', { level: 's0:c1' })],
    refusal: DEFAULTS,
  },
  {
    name: 'a sysctl',
    patch: [
      set('/spec/securityContext/sysctls', [{ name: 'net.ipv4.ip_unprivileged_port_start', value: '0' }]),
    ],
    refusal: DEFAULTS,
  },
  {
    name: 'a folder of the host',
    patch: [volume({ hostPath: { path: '/' } })],
    refusal: KINDS,
    podSecurity: 'hostPath',
  },
  {
    name: 'the socket of the engine',
    patch: [volume({ hostPath: { path: '/run/containerd/containerd.sock', type: 'Socket' } })],
    refusal: KINDS,
    podSecurity: 'hostPath',
  },
  { name: 'a Secret', patch: [volume({ secret: { secretName: 'database' } })], refusal: KINDS },
  { name: 'a ConfigMap', patch: [volume({ configMap: { name: 'settings' } })], refusal: KINDS },
  {
    name: 'a volume claim',
    patch: [volume({ persistentVolumeClaim: { claimName: 'shared' } })],
    refusal: KINDS,
  },
  {
    name: 'fields of the pod',
    patch: [volume({ downwardAPI: { items: [{ path: 'x', fieldRef: { fieldPath: 'metadata.name' } }] } })],
    refusal: KINDS,
  },
  {
    name: 'a share',
    patch: [volume({ nfs: { server: '10.0.0.1', path: '/' } })],
    refusal: KINDS,
    podSecurity: 'restricted volume types',
  },
  { name: "a driver's volume", patch: [volume({ csi: { driver: 'csi.example.com' } })], refusal: KINDS },
  {
    name: 'an emptyDir on disk',
    patch: [volume({ emptyDir: { sizeLimit: '1Mi' } })],
    refusal: "a run's emptyDir is in memory and has a sizeLimit",
  },
  {
    name: 'an emptyDir without limit',
    patch: [volume({ emptyDir: { medium: 'Memory' } })],
    refusal: "a run's emptyDir is in memory and has a sizeLimit",
  },
  {
    name: "the API server's certificate",
    patch: [volume({ projected: { sources: [{ configMap: { name: 'kube-root-ca.crt' } }] } })],
    refusal: TOKEN,
  },
  { name: 'a token for the API server', patch: [set(`${TOKEN_SOURCE}/audience`, '')], refusal: TOKEN },
  { name: 'a token for another service', patch: [set(`${TOKEN_SOURCE}/audience`, 'vault')], refusal: TOKEN },
  { name: 'a token for a day', patch: [set(`${TOKEN_SOURCE}/expirationSeconds`, 86_400)], refusal: TOKEN },
  {
    name: 'another service account',
    patch: [set('/spec/serviceAccountName', 'other')],
    refusal: 'service account is "wormhole-runner"',
  },
  {
    name: 'a mounted token',
    patch: [set('/spec/automountServiceAccountToken', true)],
    refusal: 'no token of it is mounted',
  },
  {
    name: 'addresses of services',
    patch: [set('/spec/enableServiceLinks', true)],
    refusal: 'told of no service',
  },
  { name: "the cluster's DNS", patch: [set('/spec/dnsPolicy', 'ClusterFirst')], refusal: 'has no DNS' },
  { name: "the node's DNS", patch: [set('/spec/dnsPolicy', 'Default')], refusal: 'has no DNS' },
  {
    name: 'a name server of its own',
    patch: [set('/spec/dnsConfig', { nameservers: ['8.8.8.8'] })],
    refusal: 'has no DNS',
  },
  {
    name: 'a restart after failure',
    patch: [set('/spec/restartPolicy', 'OnFailure')],
    refusal: 'never restarted',
    podOnly: true,
  },
  {
    name: 'a restart of the container alone',
    patch: [set(`${RUNNER}/restartPolicy`, 'Always')],
    refusal: 'never restarted',
    podOnly: true,
  },
  {
    name: 'tolerations of everything',
    patch: [set('/spec/tolerations', [{ operator: 'Exists' }])],
    refusal: 'tolerates taints by their key',
  },
  {
    name: "a priority of the system's",
    patch: [set('/spec/priorityClassName', 'system-node-critical')],
    refusal: "no priority of the system's",
  },
  { name: 'no run', patch: [JsonPatch.remove('/metadata/labels/wormhole.dev~1run-id')], refusal: LABELLED },
  {
    name: 'no attempt',
    patch: [JsonPatch.remove('/metadata/labels/wormhole.dev~1attempt')],
    refusal: LABELLED,
  },
  {
    name: "another component's label",
    patch: [set('/metadata/labels/app.kubernetes.io~1component', 'gateway')],
    refusal: LABELLED,
  },
  {
    name: "another instance's label",
    patch: [set('/metadata/labels/app.kubernetes.io~1instance', 'other')],
    refusal: LABELLED,
  },
  {
    name: "another tenant's label",
    patch: [set('/metadata/labels/wormhole.dev~1tenant-id', 'other')],
    refusal: "a run's tenant-id label is that of its namespace",
  },
  {
    name: 'a node without the scheduler',
    patch: [set('/spec/nodeName', 'node-1')],
    refusal: 'a run is placed by the scheduler',
  },
];

/** What makes a Job more than one attempt at one run. */
export const JOB_MUTATIONS: readonly Pick<PodMutation, 'name' | 'patch' | 'refusal'>[] = [
  { name: 'two pods at once', patch: [set('/spec/parallelism', 2)], refusal: 'starts one pod once' },
  { name: 'three pods', patch: [set('/spec/completions', 3)], refusal: 'starts one pod once' },
  { name: 'retries', patch: [set('/spec/backoffLimit', 6)], refusal: 'starts one pod once' },
  {
    name: 'no deadline',
    patch: [JsonPatch.remove('/spec/activeDeadlineSeconds')],
    refusal: 'ends and is removed',
  },
  {
    name: 'no removal',
    patch: [JsonPatch.remove('/spec/ttlSecondsAfterFinished')],
    refusal: 'ends and is removed',
  },
];
