import { Construct } from 'constructs';
import { parse } from 'yaml';
import { z } from 'zod';
import { k8s } from '../../imports/k8s.ts';
import { checked } from '../checked.ts';
import { digestOf } from '../digest.ts';
import { COMPONENTS, componentLabels } from '../labels.ts';
import { CONFIG_MAP } from '../platform-names.ts';
import { platformScope, type PlatformScope } from './platform-scope.ts';

export interface ControlPlaneConfigProps extends PlatformScope {
  /** The text of `wormhole.yaml`. Nothing secret: it stands in a ConfigMap. */
  readonly config: string;
}

/** etcd takes 1.5 MiB in one request; what surrounds the text needs some of it. */
const CONFIG_CHARACTERS = 1_000_000;

const propsSchema = z.strictObject({ ...platformScope, config: z.string().min(1).max(CONFIG_CHARACTERS) });

/** What the gateway and the egress proxy read of it. */
const READ = {
  gateway: [
    ['internalServices'],
    ['kubernetes', 'platformNamespace'],
    ['kubernetes', 'tenantNamespacePrefix'],
    ['kubernetes', 'gateway'],
    ['kubernetes', 'egressProxy'],
  ],
  egressProxy: [['internalServices'], ['kubernetes', 'egressProxy']],
} as const;

/** What the controller reads again and again: a change of it takes no other pod. */
const LIVE: ReadonlySet<string> = new Set(['tenants', 'maxConcurrent', 'startRate']);

const valueAt = (value: unknown, path: readonly string[]): unknown =>
  path.reduce<unknown>(
    (inner, key) =>
      typeof inner === 'object' && inner !== null
        ? (inner as Readonly<Record<string, unknown>>)[key]
        : undefined,
    value,
  );

const withoutLive = (declared: unknown): unknown =>
  Object.fromEntries(Object.entries(declared ?? {}).filter(([key]) => !LIVE.has(key)));

/** What the control plane is configured with: `wormhole.yaml` in the ConfigMap `wormhole-config`. */
export class ControlPlaneConfig extends Construct {
  /**
   * SHA-256 of what each component reads of it when it starts. Pods that carry it are replaced when that changes, and only then:
   * a new tenant must not cut the requests that go through the egress proxy.
   */
  readonly digests: Readonly<Record<'controller' | 'gateway' | 'egressProxy', string>>;

  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: ControlPlaneConfigProps) {
    super(scope, id);
    const { instance, platformNamespace, config } = checked('ControlPlaneConfig', propsSchema, props);
    const declared: unknown = parse(config);
    const digestOfPaths = (paths: readonly (readonly string[])[]): string =>
      digestOf(paths.map((path) => valueAt(declared, path)));
    this.digests = {
      controller: digestOf(withoutLive(declared)),
      gateway: digestOfPaths(READ.gateway),
      egressProxy: digestOfPaths(READ.egressProxy),
    };
    new k8s.KubeConfigMap(this, 'config', {
      metadata: {
        name: CONFIG_MAP.name,
        namespace: platformNamespace,
        labels: componentLabels(instance, COMPONENTS.platform),
      },
      data: { [CONFIG_MAP.file]: config },
    });
  }
}
