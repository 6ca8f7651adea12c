/** How a container ended, as its backend saw it. */
export interface Exit {
  /** `exited`: the process ended by itself or was killed. `lost`: it vanished without telling how. */
  readonly kind: 'exited' | 'lost';
  readonly exitCode: number | null;
  readonly oomKilled: boolean;
  readonly at: Date;
}
