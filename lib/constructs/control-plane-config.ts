import { Construct } from 'constructs';
import { z } from 'zod';
import { k8s } from '../../imports/k8s.ts';
import { checked } from '../checked.ts';
import { digestOfText } from '../digest.ts';
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

/** What the control plane is configured with: `wormhole.yaml` in the ConfigMap `wormhole-config`. */
export class ControlPlaneConfig extends Construct {
  /** SHA-256 of the text: pods that carry it are replaced when the text changes. */
  readonly digest: string;

  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: ControlPlaneConfigProps) {
    super(scope, id);
    const { instance, platformNamespace, config } = checked('ControlPlaneConfig', propsSchema, props);
    this.digest = digestOfText(config);
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
