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
const LIMITS = 'is limited in each of';
const REQUESTS = 'requests what it is limited to';
const HOST = "no namespace of the host's";
const DEFAULTS = "as the node's runtime has them";
const KINDS = 'volumes of two kinds';
const DEVICES = 'a run uses no devices';
const SANDBOX = "a run's sandbox is the platform's";
const PRIORITY = "a run's priority class is";
const SELECTOR = "a run's nodeSelector is";
const TOLERATED = 'a run tolerates only';
const SCHEDULER = 'placed by the default scheduler';
const ANNOTATED = 'a run is annotated with nothing but';
const OWNED = "a run's pod is a Job's";
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
  { name: 'an input', patch: [set(`${RUNNER}/stdin`, true)], refusal: COMMAND },
  { name: 'a terminal', patch: [set(`${RUNNER}/tty`, true)], refusal: COMMAND },
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
    refusal: REQUESTS,
  },
  {
    name: 'a device',
    patch: [
      set(`${RUNNER}/resources/limits/example.com~1gpu`, '1'),
      set(`${RUNNER}/resources/requests/example.com~1gpu`, '1'),
    ],
    refusal: DEVICES,
  },
  {
    name: 'a resource claim',
    patch: [set('/spec/resourceClaims', [{ name: 'gpu', resourceClaimName: 'gpu' }])],
    refusal: DEVICES,
  },
  {
    name: "a container's resource claim",
    patch: [
      set('/spec/resourceClaims', [{ name: 'gpu', resourceClaimName: 'gpu' }]),
      set(`${RUNNER}/resources/claims`, [{ name: 'gpu' }]),
    ],
    refusal: DEVICES,
  },
  {
    name: 'a block device',
    patch: [
      volume({ persistentVolumeClaim: { claimName: 'disk' } }),
      set(`${RUNNER}/volumeDevices`, [{ name: 'extra', devicePath: '/dev/xvda' }]),
    ],
    refusal: KINDS,
  },
  {
    name: 'resources of the pod',
    patch: [set('/spec/resources', { requests: { cpu: '8' }, limits: { cpu: '8' } })],
    refusal: DEVICES,
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
  { name: "the host's users by name", patch: [set('/spec/hostUsers', true)], refusal: SANDBOX },
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
    name: 'a pod of the root group',
    patch: [set('/spec/securityContext/runAsGroup', 0)],
    refusal: 'its pod is no other user',
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
    name: 'no AppArmor profile for the pod',
    patch: [set('/spec/securityContext/appArmorProfile', { type: 'Unconfined' })],
    refusal: DEFAULTS,
    podSecurity: 'forbidden AppArmor profile',
  },
  {
    name: 'a user of Windows',
    patch: [set(`${RUNNER}/securityContext/windowsOptions`, { runAsUserName: 'ContainerAdministrator' })],
    refusal: DEFAULTS,
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
    name: 'a token that a mount hides',
    patch: [
      set('/spec/automountServiceAccountToken', true),
      set(`${RUNNER}/volumeMounts/-`, {
        name: 'tmp',
        mountPath: '/var/run/secrets/kubernetes.io/serviceaccount',
      }),
    ],
    refusal: 'no token of it is mounted',
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
    name: 'an hour to stop in',
    patch: [set('/spec/terminationGracePeriodSeconds', 3600)],
    refusal: 'a run is killed at most 300 s after',
  },
  {
    name: 'tolerations of everything',
    patch: [set('/spec/tolerations', [{ operator: 'Exists' }])],
    refusal: TOLERATED,
  },
  {
    name: "a toleration of the control plane's nodes",
    patch: [
      set('/spec/tolerations/-', {
        key: 'node-role.kubernetes.io/control-plane',
        operator: 'Exists',
        effect: 'NoSchedule',
      }),
    ],
    refusal: TOLERATED,
  },
  {
    name: 'a toleration of another effect',
    patch: [JsonPatch.remove('/spec/tolerations/0/effect')],
    refusal: TOLERATED,
  },
  {
    name: "a priority of the system's",
    patch: [set('/spec/priorityClassName', 'system-node-critical')],
    refusal: PRIORITY,
  },
  { name: 'no priority', patch: [JsonPatch.remove('/spec/priorityClassName')], refusal: PRIORITY },
  { name: 'no sandbox', patch: [JsonPatch.remove('/spec/runtimeClassName')], refusal: SANDBOX },
  { name: 'users that were not asked for', patch: [set('/spec/hostUsers', false)], refusal: SANDBOX },
  { name: 'any node', patch: [JsonPatch.remove('/spec/nodeSelector')], refusal: SELECTOR },
  {
    name: 'one node',
    patch: [set('/spec/nodeSelector/kubernetes.io~1hostname', 'node-1')],
    refusal: SELECTOR,
  },
  { name: 'another scheduler', patch: [set('/spec/schedulerName', 'mine')], refusal: SCHEDULER },
  {
    name: 'an aversion to all other pods',
    patch: [
      set('/spec/affinity', {
        podAntiAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: [
            { labelSelector: {}, namespaceSelector: {}, topologyKey: 'kubernetes.io/hostname' },
          ],
        },
      }),
    ],
    refusal: SCHEDULER,
  },
  {
    name: 'a spread over nodes',
    patch: [
      set('/spec/topologySpreadConstraints', [
        { maxSkew: 1, topologyKey: 'kubernetes.io/hostname', whenUnsatisfiable: 'DoNotSchedule' },
      ]),
    ],
    refusal: SCHEDULER,
  },
  {
    name: 'a gate before the scheduler',
    patch: [set('/spec/schedulingGates', [{ name: 'kueue.x-k8s.io/admission' }])],
    refusal: SCHEDULER,
  },
  {
    name: 'a second network',
    patch: [set('/metadata/annotations/k8s.v1.cni.cncf.io~1networks', 'default/host')],
    refusal: ANNOTATED,
  },
  {
    name: 'annotations of a queue that there is not',
    patch: [set('/metadata/annotations/kueue.x-k8s.io~1workload', 'x')],
    refusal: ANNOTATED,
  },
  {
    name: 'nobody who ends it',
    patch: [JsonPatch.remove('/metadata/ownerReferences')],
    refusal: OWNED,
    podOnly: true,
  },
  {
    name: 'an owner that is no Job',
    patch: [set('/metadata/ownerReferences/0/kind', 'CronJob')],
    refusal: OWNED,
    podOnly: true,
  },
  {
    name: 'an owner that is a Job of somebody else',
    patch: [set('/metadata/ownerReferences/0/apiVersion', 'example.com/v1')],
    refusal: OWNED,
    podOnly: true,
  },
  {
    name: 'an owner that is not its controller',
    patch: [set('/metadata/ownerReferences/0/controller', false)],
    refusal: OWNED,
    podOnly: true,
  },
  { name: 'no run', patch: [JsonPatch.remove('/metadata/labels/wormhole.dev~1run-id')], refusal: LABELLED },
  {
    name: 'no attempt',
    patch: [JsonPatch.remove('/metadata/labels/wormhole.dev~1attempt')],
    refusal: LABELLED,
  },
  {
    name: "another manager's label",
    patch: [set('/metadata/labels/app.kubernetes.io~1managed-by', 'helm')],
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

const ONE_POD = "a run's Job has one pod";
const ONCE = 'never starts a second pod';
const CONTROLLER = 'is the Job controller';
const ENDS = 'ends and is removed';
const INDEXED = set('/spec/completionMode', 'Indexed');

/** What makes a Job more than one attempt at one run. */
export const JOB_MUTATIONS: readonly Pick<PodMutation, 'name' | 'patch' | 'refusal'>[] = [
  { name: 'two pods at once', patch: [set('/spec/parallelism', 2)], refusal: ONE_POD },
  { name: 'three pods', patch: [set('/spec/completions', 3)], refusal: ONE_POD },
  { name: 'an index', patch: [INDEXED], refusal: ONE_POD },
  {
    name: 'retries of its index',
    patch: [INDEXED, set('/spec/backoffLimitPerIndex', 3), set('/spec/maxFailedIndexes', 1)],
    refusal: ONE_POD,
  },
  {
    name: 'a success of its own',
    patch: [INDEXED, set('/spec/successPolicy', { rules: [{ succeededCount: 1 }] })],
    refusal: ONE_POD,
  },
  { name: 'retries', patch: [set('/spec/backoffLimit', 6)], refusal: ONCE },
  {
    name: 'replacement while it terminates',
    patch: [
      JsonPatch.remove('/spec/podFailurePolicy'),
      set('/spec/podReplacementPolicy', 'TerminatingOrFailed'),
    ],
    refusal: ONCE,
  },
  {
    name: 'a failure that does not count',
    patch: [set('/spec/podFailurePolicy/rules/0/action', 'Ignore')],
    refusal: ONCE,
  },
  {
    name: 'another controller',
    patch: [set('/spec/managedBy', 'example.com/controller')],
    refusal: CONTROLLER,
  },
  {
    name: 'pods of others',
    patch: [
      set('/spec/manualSelector', true),
      set('/spec/selector', { matchLabels: { 'wormhole.dev/attempt': '1' } }),
    ],
    refusal: CONTROLLER,
  },
  { name: 'no deadline', patch: [JsonPatch.remove('/spec/activeDeadlineSeconds')], refusal: ENDS },
  { name: 'a late deadline', patch: [set('/spec/activeDeadlineSeconds', 90_001)], refusal: ENDS },
  { name: 'no removal', patch: [JsonPatch.remove('/spec/ttlSecondsAfterFinished')], refusal: ENDS },
  { name: 'a late removal', patch: [set('/spec/ttlSecondsAfterFinished', 3601)], refusal: ENDS },
];
