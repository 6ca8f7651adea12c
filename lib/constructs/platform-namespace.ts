import { Construct } from 'constructs';
import { k8s } from '../../imports/k8s.ts';
import { checked } from '../checked.ts';
import { COMPONENTS, componentLabels } from '../labels.ts';
import { RESTRICTED_NAMESPACE } from '../pod-security.ts';
import { type PlatformScope, platformScopeSchema } from './platform-scope.ts';

/** The control plane's namespace, as restricted as a tenant's. */
export class PlatformNamespace extends Construct {
  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: PlatformScope) {
    super(scope, id);
    const { instance, platformNamespace } = checked('PlatformNamespace', platformScopeSchema, props);
    new k8s.KubeNamespace(this, 'namespace', {
      metadata: {
        name: platformNamespace,
        labels: { ...componentLabels(instance, COMPONENTS.platform), ...RESTRICTED_NAMESPACE },
      },
    });
  }
}
