import type { Session } from '../cli/session.ts';
import type { Client } from '../client.ts';
import type { Environment } from '../config.ts';
import type { StoredCredentials } from '../model/connection.ts';

/** A platform of the demo's own, and the service that its runs call. Disposing of it removes all of it. */
export interface DemoStage extends AsyncDisposable {
  readonly client: Client;
  /** For people. */
  readonly facts: { readonly engine: string; readonly image: string };
  /** What a tenant needs to call the service, by connection key. */
  readonly connections: Readonly<Record<string, StoredCredentials>>;
  /**
   * Stops the platform once all runs have ended.
   * @returns what is left of the runs, in words.
   */
  stop(): Promise<readonly string[]>;
}

export interface StageOptions {
  readonly session: Pick<Session, 'env' | 'interrupt' | 'streams'>;
  readonly environment: Environment;
  /** Told before each slow step, in words for people. */
  readonly tellStep: (step: string) => void;
}

/**
 * Opens a stage; what an earlier demo that was killed has left is removed first.
 * @throws whatever is in the way, or the reason of an interrupt; nothing is left then.
 */
export type OpenStage = (options: StageOptions) => Promise<DemoStage>;
