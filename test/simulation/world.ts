import type { Random } from '../chaos/random.ts';
import type { Audit } from './audit.ts';
import type { Engine } from './engine.ts';
import type { ModelStore } from './model-store.ts';
import type { Faults, Scenario } from './scenario.ts';
import type { VirtualTime } from './virtual-time.ts';

/** What everything in one simulation shares. */
export interface World {
  readonly scenario: Scenario;
  readonly time: VirtualTime;
  readonly random: Random;
  readonly store: ModelStore;
  readonly engine: Engine;
  readonly audit: Audit;
  /** How likely each fault is now. */
  readonly faults: () => Faults;
  readonly isDatabaseDown: () => boolean;
  /** Writes a line of what happens. */
  readonly trace: (line: string) => void;
}
