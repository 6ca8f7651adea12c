import { z } from 'zod';
import { instanceSchema, ownNamespaceSchema } from '../names.ts';

/** What all parts of the platform have in common. */
export interface PlatformScope {
  /** The platform instance: one cluster may have several. */
  readonly instance: string;
  /** The namespace of the control plane. */
  readonly platformNamespace: string;
}

export const platformScope = { instance: instanceSchema, platformNamespace: ownNamespaceSchema };

export const platformScopeSchema = z.strictObject(platformScope);
