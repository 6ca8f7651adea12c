import { z } from 'zod';
import { dnsLabelSchema, instanceSchema, ownNamespaceSchema } from '../names.ts';

/** Where Argo CD finds what synth rendered. */
export interface GitOps {
  /** The GitOps repository, as Argo CD knows it. */
  readonly repoUrl: string;
  /**
   * The branch, tag or commit that the cluster follows.
   * @default "main"
   */
  readonly revision?: string;
  /**
   * The repository's folder with the content of dist/.
   * @default "dist"
   */
  readonly path?: string;
}

const folder = /^[A-Za-z0-9_][-A-Za-z0-9_.]*(?:\/[A-Za-z0-9_][-A-Za-z0-9_.]*)*$/;

/** The key `gitops` of an environment file. */
export const gitOpsSchema = z.strictObject({
  repoUrl: z
    .string()
    .max(512)
    .regex(
      /^(?:https:\/\/[^\s@]+|ssh:\/\/[^\s:]+|[a-z0-9._-]+@[^\s:@]+:[^\s@]+)$/,
      'an https or ssh address of a Git repository, without a password',
    ),
  revision: z
    .string()
    .max(250)
    .regex(/^[A-Za-z0-9][-A-Za-z0-9_./]*$/, 'a branch, tag or commit')
    .default('main'),
  path: z.string().max(250).regex(folder, 'a folder of the repository, e.g. "dist"').default('dist'),
});

export interface GitOpsProps extends GitOps {
  /** The environment's name: its folder in dist/. */
  readonly environment: string;
  readonly instance: string;
  readonly platformNamespace: string;
  /** What the name of every tenant's namespace begins with, before "-". */
  readonly tenantNamespacePrefix: string;
}

export const gitOpsPropsSchema = z.strictObject({
  ...gitOpsSchema.shape,
  environment: dnsLabelSchema.max(40),
  instance: instanceSchema,
  platformNamespace: ownNamespaceSchema,
  tenantNamespacePrefix: dnsLabelSchema,
});

/** The properties with their defaults filled in. */
export type CheckedGitOpsProps = z.output<typeof gitOpsPropsSchema>;

/** The cluster that Argo CD itself is in. */
export const IN_CLUSTER = 'https://kubernetes.default.svc';

/** @returns the name of the project of the cluster's parts and the control plane; all applications' names begin with it. */
export const projectName = (environment: string): string => `wormhole-${environment}`;

/** @returns the name of the project of the tenants. */
export const tenantsProjectName = (environment: string): string => `${projectName(environment)}-tenants`;

/** @returns the name of the project of the application of applications. */
export const rootProjectName = (environment: string): string => `${projectName(environment)}-root`;
