import { parseDocument } from 'yaml';
import { z } from 'zod';
import { checked } from './checked.ts';
import { componentSizeSchema } from './constructs/control-plane-props.ts';
import {
  controlPlanePriorityClassName,
  RUN_PRIORITIES,
  runPriorityClassName,
} from './constructs/priority-classes.ts';
import { placementSchema } from './constructs/run-pod-props.ts';
import { egressPolicySchema, internalServiceSchema } from './egress.ts';
import { InvalidValueError } from './errors.ts';
import { gitOpsSchema } from './gitops/gitops-props.ts';
import { refuseImage } from './image.ts';
import { dnsLabelSchema, instanceSchema, ownNamespaceSchema } from './names.ts';
import { startRateSchema, tenantSchema } from './tenant.ts';

/** 12 characters of prefix, "-" and 50 of a tenant's id are the 63 of a namespace. */
const PREFIX_CHARACTERS = 12;
/** What the controller takes, because the instance becomes part of container names. */
const INSTANCE_CHARACTERS = 40;

const declaredSchema = z.strictObject({
  /** Whether images must be named by digest and every component needs a second replica. */
  production: z.boolean().default(false),
  instance: instanceSchema.max(INSTANCE_CHARACTERS).default('wormhole'),
  platformNamespace: ownNamespaceSchema.default('wormhole-system'),
  tenantNamespacePrefix: dnsLabelSchema.max(PREFIX_CHARACTERS).default('wormhole-run'),
  images: z.strictObject({
    runner: z.string(),
    controlPlane: z.string(),
    /** Also admitted, but not used for new runs by this version's controller: while one image follows another. */
    otherRunners: z.array(z.string()).max(10).default([]),
  }),
  allowImageTag: z.boolean().default(false),
  /** Runs in STARTING or RUNNING at once, of all tenants together. */
  maxConcurrent: z.int().min(1).max(100_000).default(50),
  /** How fast runs of all tenants together are started. Unset: as slots allow. */
  startRate: startRateSchema.exactOptional(),
  tenants: z.array(tenantSchema).min(1).max(10_000),
  /** What the runs of a tenant that says nothing about it may reach. */
  egress: egressPolicySchema.prefault({}),
  internalServices: z.array(internalServiceSchema).max(1000).default([]),
  logRetentionDays: z.int().min(1).max(3650).default(30),
  claimTimeoutMs: z.int().min(1000).max(3_600_000).default(60_000),
  /** A run that no node has room for after this long is given up, and the attempt made again. */
  unschedulableTimeoutMs: z.int().min(1000).max(3_600_000).default(30_000),
  retry: z
    .strictObject({
      attempts: z.int().min(1).max(20).default(3),
      initialDelayMs: z.int().min(0).max(600_000).default(1000),
      maxDelayMs: z.int().min(0).max(3_600_000).default(30_000),
    })
    .prefault({}),
  /** Which of the platform's priority classes runs have. */
  priority: z.enum(RUN_PRIORITIES).default('normal'),
  /** Where runs run. A priority class of the cluster's own here takes the place of `priority`. */
  placement: placementSchema.default({}),
  /** The Kueue LocalQueue that every tenant namespace has. */
  kueue: z.strictObject({ queueName: dnsLabelSchema }).exactOptional(),
  /** Whether the cluster has Cilium, and the egress proxy is held to the union of all allowlists. */
  cilium: z.boolean().default(false),
  /** The namespace that Prometheus runs in: it may read the metrics of every component. */
  metricsNamespace: dnsLabelSchema.exactOptional(),
  /** A runner of this version does not wait in a pool: see `WarmPool`. */
  pools: z
    .array(z.unknown())
    .refine((pools) => pools.length === 0, 'an empty list: this version has no warm pools')
    .default([]),
  /** Where Argo CD finds the environment's folder of dist/. Without it nothing is rendered for Argo CD. */
  gitops: gitOpsSchema.exactOptional(),
  controlPlane: z
    .strictObject({
      controller: componentSizeSchema,
      gateway: componentSizeSchema,
      egressProxy: componentSizeSchema,
    })
    .prefault({}),
});
type Declared = z.output<typeof declaredSchema>;

type Refuse = (path: (string | number)[], input: unknown, message: string) => void;

const checkTenants = (declared: Declared, refuse: Refuse): void => {
  const seen = new Set<string>();
  declared.tenants.forEach(({ id, maxConcurrent, egress }, index) => {
    const idPath = ['tenants', index, 'id'];
    if (seen.has(id)) refuse(idPath, id, 'an id that no other tenant has');
    if (`${declared.tenantNamespacePrefix}-${id}` === declared.platformNamespace) {
      refuse(idPath, id, `an id whose namespace is not the platform's own, "${declared.platformNamespace}"`);
    }
    if (maxConcurrent > declared.maxConcurrent) {
      const message = `at most ${declared.maxConcurrent}, the cap of all tenants together (maxConcurrent)`;
      refuse(['tenants', index, 'maxConcurrent'], maxConcurrent, message);
    }
    const mode = (egress ?? declared.egress).mode;
    if (declared.cilium && mode === 'unrestricted') {
      const path = egress ? ['tenants', index, 'egress', 'mode'] : ['egress', 'mode'];
      refuse(path, mode, '"deny" or "allowlist": with cilium the egress proxy reaches listed names only');
    }
    seen.add(id);
  });
};

const checkInternalServices = ({ internalServices }: Declared, refuse: Refuse): void => {
  const seen = new Set<string>();
  internalServices.forEach(({ host, port }, index) => {
    const name = `${host}:${port}`;
    if (seen.has(name)) refuse(['internalServices', index, 'host'], host, 'a host and port used only once');
    seen.add(name);
  });
};

const checkProduction = ({ allowImageTag, controlPlane }: Declared, refuse: Refuse): void => {
  if (allowImageTag) refuse(['allowImageTag'], true, 'false, because production is true');
  for (const [component, { replicas }] of Object.entries(controlPlane)) {
    if (replicas < 2) {
      refuse(['controlPlane', component, 'replicas'], replicas, 'at least 2, because production is true');
    }
  }
};

const environmentSchema = declaredSchema
  .superRefine((declared, context) => {
    const refuse: Refuse = (path, input, message) =>
      context.addIssue({ code: 'custom', path, input, message });
    const { images, allowImageTag, claimTimeoutMs, unschedulableTimeoutMs, placement } = declared;
    refuseImage(context, ['images', 'runner'], images.runner, allowImageTag);
    images.otherRunners.forEach((image, index) =>
      refuseImage(context, ['images', 'otherRunners', index], image, allowImageTag),
    );
    refuseImage(context, ['images', 'controlPlane'], images.controlPlane, allowImageTag);
    checkTenants(declared, refuse);
    checkInternalServices(declared, refuse);
    if (unschedulableTimeoutMs >= claimTimeoutMs) {
      const allowed = `less than claimTimeoutMs, which is ${claimTimeoutMs}`;
      refuse(['unschedulableTimeoutMs'], unschedulableTimeoutMs, allowed);
    }
    if (placement.priorityClassName === controlPlanePriorityClassName(declared.instance)) {
      const path = ['placement', 'priorityClassName'];
      refuse(path, placement.priorityClassName, "a class of runs: this one is the control plane's");
    }
    if (declared.production) checkProduction(declared, refuse);
  })
  .transform(({ tenants, egress, priority, placement, ...rest }) => ({
    ...rest,
    tenants: tenants.map((tenant) => ({ ...tenant, egress: tenant.egress ?? egress })),
    placement: { priorityClassName: runPriorityClassName(rest.instance, priority), ...placement },
  }));

/** One cluster's platform, as declared, with every default filled in; what the keys mean is in docs/configuration.md. */
export type Environment = z.output<typeof environmentSchema>;
export type EnvironmentTenant = Environment['tenants'][number];

const contentOf = (source: string, text: string): unknown => {
  const unreadable = (key: string, message: string): InvalidValueError =>
    new InvalidValueError(source, [
      { key, value: `not readable (${message})`, allowed: 'one plain YAML document' },
    ]);
  const document = parseDocument(text, { prettyErrors: false });
  const [error] = [...document.errors, ...document.warnings];
  if (error) throw unreadable(`line ${text.slice(0, error.pos[0]).split('\n').length}`, error.message);
  try {
    return document.toJS({ maxAliasCount: 0 });
  } catch (aliases) {
    throw unreadable('the file', aliases instanceof Error ? aliases.message : String(aliases));
  }
};

/**
 * @param source what messages name, e.g. `environments/dev.yaml`.
 * @param text YAML 1.2: one document, no aliases.
 * @returns the environment with its defaults filled in.
 * @throws {InvalidValueError} with every problem: key, value and what is allowed.
 */
export const parseEnvironment = (source: string, text: string): Environment =>
  checked(source, environmentSchema, contentOf(source, text) as z.input<typeof environmentSchema>);
