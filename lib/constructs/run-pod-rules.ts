import { all, empty, literal, type Rule } from '../cel.ts';
import { ACCOUNTS } from '../platform-names.ts';
import { COMPONENTS, componentLabels, LABELS } from '../labels.ts';
import { NONROOT_ID } from '../pod-security.ts';
import { RUN_RESOURCES } from '../run-size.ts';
import { placementRules } from './run-placement-rules.ts';
import { RUN_POD_ANNOTATIONS } from './run-pod.ts';
import { type RunPlacement, runPodShape } from './run-pod-props.ts';

/** The variables that the rules speak of. `pod` is not among them: where it is depends on what was asked for. */
export const POD_VARIABLES = [
  { name: 'spec', expression: 'variables.pod.spec' },
  { name: 'podSecurity', expression: 'variables.spec.?securityContext.orValue({})' },
  { name: 'volumes', expression: 'variables.spec.?volumes.orValue([])' },
  { name: 'labels', expression: 'variables.pod.metadata.?labels.orValue({})' },
  { name: 'nodeSelector', expression: 'variables.spec.?nodeSelector.orValue({})' },
  { name: 'runner', expression: 'variables.spec.containers[0]' },
  { name: 'security', expression: 'variables.runner.?securityContext.orValue({})' },
  { name: 'limits', expression: 'variables.runner.?resources.?limits.orValue({})' },
  { name: 'requests', expression: 'variables.runner.?resources.?requests.orValue({})' },
];

const ENVIRONMENT = ['WORMHOLE_GATEWAY_URL', 'WORMHOLE_GATEWAY_CA', 'WORMHOLE_CLAIM_TOKEN_FILE'];

/** The longest that a run's token is valid, in seconds. */
const TOKEN_SECONDS = 600;

/** The longest that a run has between SIGTERM and SIGKILL, in seconds. */
const GRACE_SECONDS = Number(runPodShape.terminationGracePeriodSeconds.unwrap().maxValue);

const label = (key: string): string => `variables.labels[?${literal(key)}].orValue("")`;

const containerRules = (images: readonly string[]): Rule[] => [
  {
    expression: 'variables.spec.containers.size() == 1 && variables.runner.name == "runner"',
    message: 'a run has one container, named "runner"',
  },
  {
    expression: empty('variables.spec.?initContainers'),
    message: 'a run has no init containers',
  },
  {
    expression: `variables.runner.image in ${literal(images)}`,
    message: `a run's image is one of the platform's: ${images.join(', ')}`,
  },
  {
    expression: all(
      '!has(variables.runner.command)',
      '!has(variables.runner.args)',
      '!has(variables.runner.workingDir)',
      '!variables.runner.?stdin.orValue(false)',
      '!variables.runner.?tty.orValue(false)',
    ),
    message: 'a run starts what its image starts: command, args, workingDir, stdin and tty are not set',
  },
  {
    expression: all(
      '!has(variables.runner.lifecycle)',
      '!has(variables.runner.livenessProbe)',
      '!has(variables.runner.readinessProbe)',
      '!has(variables.runner.startupProbe)',
    ),
    message: 'a run has no lifecycle hooks and no probes: the kubelet would carry them out for it',
  },
  {
    expression: empty('variables.runner.?ports'),
    message: 'a run listens nowhere: it has no ports',
  },
  {
    expression: all(
      `variables.runner.?env.orValue([]).all(e, e.name in ${literal(ENVIRONMENT)} && !has(e.valueFrom))`,
      empty('variables.runner.?envFrom'),
    ),
    message: `a run's environment is written out, and only of ${ENVIRONMENT.join(', ')}: no valueFrom, no envFrom`,
  },
  {
    expression: `${literal(RUN_RESOURCES)}.all(r, r in variables.limits)`,
    message: `a run is limited in each of ${RUN_RESOURCES.join(', ')}`,
  },
  {
    expression: 'variables.requests == variables.limits',
    message: 'a run requests what it is limited to',
  },
  // Block devices and a container's claims need a volume claim and a claim of the pod: neither is possible.
  {
    expression: all(
      `variables.limits.all(r, r in ${literal(RUN_RESOURCES)})`,
      empty('variables.spec.?resourceClaims'),
      '!has(variables.spec.resources)',
    ),
    message: `a run uses no devices and no resources but its container's ${RUN_RESOURCES.join(', ')}`,
  },
];

const securityRules: readonly Rule[] = [
  {
    expression: ['hostNetwork', 'hostPID', 'hostIPC', 'shareProcessNamespace']
      .map((field) => `!variables.spec.?${field}.orValue(false)`)
      .join(' && '),
    message:
      "a run is in no namespace of the host's, network, PID or IPC, and its processes in one of their own",
  },
  // Kubernetes takes nothing privileged that may not become so.
  {
    expression: '!variables.security.?allowPrivilegeEscalation.orValue(true)',
    message: 'a run is not privileged and cannot become so: allowPrivilegeEscalation is false',
  },
  {
    expression: all(
      'variables.security.?capabilities.?drop.orValue([]) == ["ALL"]',
      empty('variables.security.?capabilities.?add'),
    ),
    message: 'a run drops ALL capabilities and adds none',
  },
  {
    expression: 'variables.security.?readOnlyRootFilesystem.orValue(false) == true',
    message: "a run's root file system is read-only",
  },
  {
    expression: all(
      'variables.security.?runAsNonRoot.orValue(false) == true',
      `variables.security.?runAsUser.orValue(0) == ${NONROOT_ID}`,
      `variables.security.?runAsGroup.orValue(0) == ${NONROOT_ID}`,
    ),
    message: `a run is user ${NONROOT_ID} of group ${NONROOT_ID}`,
  },
  {
    expression: all(
      `variables.podSecurity.?runAsUser.orValue(${NONROOT_ID}) == ${NONROOT_ID}`,
      `variables.podSecurity.?runAsGroup.orValue(${NONROOT_ID}) == ${NONROOT_ID}`,
      '!has(variables.podSecurity.fsGroup)',
      empty('variables.podSecurity.?supplementalGroups'),
    ),
    message: 'a run is in no further group, and its pod is no other user',
  },
  {
    expression: all(
      'variables.podSecurity.?seccompProfile.?type.orValue("") == "RuntimeDefault"',
      'variables.security.?seccompProfile.?type.orValue("RuntimeDefault") == "RuntimeDefault"',
    ),
    message: "a run's seccomp profile is RuntimeDefault",
  },
  {
    expression: all(
      `[variables.podSecurity, variables.security].all(s, ${all(
        's.?appArmorProfile.?type.orValue("RuntimeDefault") == "RuntimeDefault"',
        '!has(s.seLinuxOptions)',
        '!has(s.windowsOptions)',
      )})`,
      empty('variables.podSecurity.?sysctls'),
    ),
    message: "a run leaves AppArmor, SELinux, Windows options and sysctls as the node's runtime has them",
  },
  {
    expression: 'variables.security.?procMount.orValue("Default") == "Default"',
    message: "a run's /proc is masked: procMount is Default",
  },
];

const volumeRules = (audience: string): Rule[] => [
  {
    expression: 'variables.volumes.all(v, has(v.emptyDir) || has(v.projected))',
    message: 'a run has volumes of two kinds: emptyDir in memory, and its projected token',
  },
  {
    expression: `variables.volumes.all(v, !has(v.emptyDir) || (${all(
      'v.emptyDir.?medium.orValue("") == "Memory"',
      'has(v.emptyDir.sizeLimit)',
    )}))`,
    message: "a run's emptyDir is in memory and has a sizeLimit",
  },
  {
    expression: `variables.volumes.all(v, v.?projected.?sources.orValue([]).all(s, ${all(
      `s.?serviceAccountToken.?audience.orValue("") == ${literal(audience)}`,
      `s.?serviceAccountToken.?expirationSeconds.orValue(3600) <= ${TOKEN_SECONDS}`,
    )}))`,
    message: `a run's projected volume holds a token for "${audience}", valid for at most ${TOKEN_SECONDS} s, and nothing else`,
  },
];

const podRules = (instance: string): Rule[] => [
  {
    expression: all(
      `variables.spec.?serviceAccountName.orValue("") == ${literal(ACCOUNTS.runner)}`,
      '!variables.spec.?automountServiceAccountToken.orValue(true)',
    ),
    message: `a run's service account is "${ACCOUNTS.runner}", and no token of it is mounted by itself`,
  },
  {
    expression: all(
      '!variables.spec.?enableServiceLinks.orValue(true)',
      'variables.spec.?dnsPolicy.orValue("") == "None"',
      'variables.spec.?dnsConfig.?nameservers.orValue([]) == ["127.0.0.1"]',
    ),
    message:
      'a run is told of no service and has no DNS: enableServiceLinks false, dnsPolicy None, nameserver 127.0.0.1',
  },
  {
    expression: all(
      'variables.spec.?restartPolicy.orValue("") == "Never"',
      '!has(variables.runner.restartPolicy)',
    ),
    message: 'a run is never restarted: its restartPolicy is Never',
  },
  {
    expression: `variables.spec.?terminationGracePeriodSeconds.orValue(30) <= ${GRACE_SECONDS}`,
    message: `a run is killed at most ${GRACE_SECONDS} s after it was told to stop`,
  },
  {
    expression: all(
      ...Object.entries(componentLabels(instance, COMPONENTS.run)).map(
        ([key, value]) => `${label(key)} == ${literal(value)}`,
      ),
      `${label(LABELS.runId)} != ""`,
      `${label(LABELS.attempt)} != ""`,
    ),
    message: `a run is labelled as one of the instance "${instance}", with its run-id and its attempt`,
  },
  {
    expression: `${label(LABELS.tenantId)} == namespaceObject.metadata.labels[${literal(LABELS.tenantId)}]`,
    message: "a run's tenant-id label is that of its namespace",
  },
];

/** @returns a rule that the pod of a run is annotated by us alone: annotations switch on what networks and runtimes can. */
export const annotationRule = (kueue: boolean): Rule => {
  const known = literal(Object.keys(RUN_POD_ANNOTATIONS));
  const prefixes = ['batch.kubernetes.io/', ...(kueue ? ['kueue.x-k8s.io/'] : [])];
  const term = [`k in ${known}`, ...prefixes.map((prefix) => `k.startsWith(${literal(prefix)})`)].join(
    ' || ',
  );
  return {
    expression: `variables.pod.metadata.?annotations.orValue({}).all(k, ${term})`,
    message: `a run is annotated with nothing but ${Object.keys(RUN_POD_ANNOTATIONS).join(', ')} and ${prefixes.map((prefix) => `${prefix}*`).join(', ')}`,
  };
};

/** What differs from platform to platform in the pod of a run. */
export interface RunPodRulesProps {
  readonly instance: string;
  readonly images: readonly string[];
  readonly audience: string;
  readonly placement: RunPlacement;
  /** Whether Kueue says when a run starts. */
  readonly kueue: boolean;
}

/** @returns all that the pod of a run is at any time, as `runPod` makes it. */
export const runPodRules = (props: RunPodRulesProps): Rule[] => [
  ...containerRules(props.images),
  ...securityRules,
  // Before the volumes: a mounted token of the service account is a volume by the time that policies are asked.
  ...podRules(props.instance),
  ...placementRules(props.placement, props.kueue),
  ...volumeRules(props.audience),
];
