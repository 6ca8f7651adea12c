import { z } from 'zod';
import { refuseImage } from '../image.ts';
import { platformScope, type PlatformScope } from './platform-scope.ts';

/** How many pods a component of the control plane has, and what each may use. */
export interface ComponentSize {
  /** @default 2 */
  readonly replicas?: number;
  /**
   * CPU cores reserved for a pod; it may use up to 2, or as many as are reserved if these are more.
   * @default 0.25
   */
  readonly cpus?: number;
  /**
   * Memory of a pod in MiB, reserved and at most.
   * @default 512
   */
  readonly memoryMb?: number;
}

/** What a component of the control plane is made from. */
export interface ControlPlaneComponentProps extends PlatformScope {
  /** The control plane's image by digest. */
  readonly image: string;
  /**
   * Whether `image` may be `name:tag`, for clusters into which images are loaded by hand.
   * @default false
   */
  readonly allowImageTag?: boolean;
  /** The component's in `ControlPlaneConfig.digests`: a change of it replaces the pods. */
  readonly configDigest: string;
  /** @default - 2 replicas of 0.25 cores and 512 MiB */
  readonly size?: ComponentSize;
}

export const componentSizeSchema = z
  .strictObject({
    replicas: z.int().min(1).max(100).default(2),
    cpus: z.number().min(0.01).max(64).default(0.25),
    memoryMb: z.int().min(128).max(65_536).default(512),
  })
  .prefault({});

export const controlPlaneComponentSchema = z
  .strictObject({
    ...platformScope,
    image: z.string(),
    allowImageTag: z.boolean().default(false),
    configDigest: z.string().regex(/^[0-9a-f]{64}$/, 'a SHA-256 in lower-case hexadecimal'),
    size: componentSizeSchema,
  })
  .superRefine(({ image, allowImageTag }, context) => refuseImage(context, ['image'], image, allowImageTag));

/** The properties with their defaults filled in. */
export type CheckedControlPlaneComponentProps = z.output<typeof controlPlaneComponentSchema>;
