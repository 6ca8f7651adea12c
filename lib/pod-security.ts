import type { k8s } from '../imports/k8s.ts';

/** The images' own user and group, `nonroot`. */
export const NONROOT_ID = 65_532;

/**
 * Pod Security `restricted` enforced, audited and warned about, in the cluster's own version.
 * https://kubernetes.io/docs/concepts/security/pod-security-admission/
 */
export const RESTRICTED_NAMESPACE: Readonly<Record<string, string>> = Object.fromEntries(
  ['enforce', 'audit', 'warn'].flatMap((mode): [string, string][] => [
    [`pod-security.kubernetes.io/${mode}`, 'restricted'],
    [`pod-security.kubernetes.io/${mode}-version`, 'latest'],
  ]),
);

/** What every pod of ours has. */
export const HARDENED_POD: k8s.PodSecurityContext = {
  runAsNonRoot: true,
  runAsUser: NONROOT_ID,
  runAsGroup: NONROOT_ID,
  seccompProfile: { type: 'RuntimeDefault' },
};

/** What every container of ours has. */
export const HARDENED_CONTAINER: k8s.SecurityContext = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  privileged: false,
  readOnlyRootFilesystem: true,
  runAsNonRoot: true,
  runAsUser: NONROOT_ID,
  runAsGroup: NONROOT_ID,
};
