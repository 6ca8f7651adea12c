import { z } from 'zod';

/** A name that becomes a namespace or part of one (RFC 1123 label). */
export const dnsLabelSchema = z
  .string()
  .regex(
    /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/,
    '1 to 63 lower-case letters, digits or "-", starting and ending with a letter or digit',
  );

/** Argo CD's own namespace. */
export const ARGOCD_NAMESPACE = 'argocd';

/** A namespace that is made for the platform or for a tenant: it is restricted, and goes with what it was made for. */
export const ownNamespaceSchema = dnsLabelSchema.refine(
  (name) => name !== 'default' && name !== ARGOCD_NAMESPACE && !name.startsWith('kube-'),
  `a namespace of its own, neither "default" nor "${ARGOCD_NAMESPACE}" nor one that starts with "kube-"`,
);

/** Kubernetes keeps priority classes of this prefix for itself, and what runs with them is never evicted. */
export const SYSTEM_PREFIX = 'system-';

/** A platform instance: priority classes begin with it. */
export const instanceSchema = dnsLabelSchema.refine(
  (name) => !`${name}-`.startsWith(SYSTEM_PREFIX),
  `a name other than "system" that does not start with "${SYSTEM_PREFIX}": Kubernetes refuses such priority classes`,
);

/** The name of most Kubernetes objects (RFC 1123 subdomain). */
export const objectNameSchema = z
  .string()
  .max(253)
  .regex(
    /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)*$/,
    'lower-case letters, digits, "-" and "." as in a domain name',
  );

/**
 * A tenant's id, as the controller has it: at most 50 characters, because a namespace name is a prefix of up to
 * 12, a "-" and the id.
 */
export const tenantIdSchema = z
  .string()
  .regex(
    /^[a-z0-9](?:[-a-z0-9]{0,48}[a-z0-9])?$/,
    '1 to 50 lower-case letters, digits or "-", starting and ending with a letter or digit',
  );

/** The id of a run or a workflow version, as it stands in names and labels. */
export const uuidSchema = z
  .string()
  .regex(/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, 'a UUID in lower-case hexadecimal');

/** https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set */
export const labelKeySchema = z
  .string()
  .max(317, { abort: true })
  .regex(
    /^(?!.{254,}\/)(?:[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)*\/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/,
    'a label key: an optional domain name and "/", then 1 to 63 letters, digits, "-", "_" or "."',
  )
  .refine((key) => key !== 'constructor', 'any other label key: cdk8s cannot render this one');
export const labelValueSchema = z
  .string()
  .regex(
    /^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/,
    'a label value: up to 63 letters, digits, "-", "_" or ".", starting and ending with a letter or digit',
  );
