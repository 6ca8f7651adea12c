import type { Client } from '../client.ts';
import type { Interrupt } from './interrupt.ts';
import type { OpenClientOptions } from './open-client.ts';
import type { Output, Streams } from './output.ts';

/** What every command runs with. */
export interface Cli {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly streams: Streams;
  readonly interrupt: Interrupt;
  /** Connects to the platform. @throws {WormholeError} PLATFORM_NOT_RUNNING, with how to start it. */
  readonly openClient: (options: OpenClientOptions) => Promise<Client>;
}

/** One command that runs. */
export interface Session extends Cli {
  readonly output: Output;
  /** Runs `work` with a client that is closed afterwards. */
  readonly withClient: (
    work: (client: Client) => Promise<number>,
    options?: Pick<OpenClientOptions, 'sealing'>,
  ) => Promise<number>;
}

/** Runs a command's work and keeps its exit code; every command hands its work to this. */
export type RunCommand = (
  options: { readonly json?: boolean },
  work: (session: Session) => Promise<number>,
) => Promise<void>;
