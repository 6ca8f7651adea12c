import type { Availability } from '../availability.ts';

/** Where a server of the test run lives and whom it tells what takes time. */
export interface ServerContext {
  /** A folder of its own, removed after the run. */
  readonly dir: string;
  readonly cacheDir: string;
  readonly log: (message: string) => void;
}

/** A server that was started for the test run. */
export interface TestServer<T> {
  /** @returns what one test file gets of it. */
  lease(): T;
  stop(): Promise<void>;
}

export type StartServer<T> = (context: ServerContext) => Promise<Availability<TestServer<T>>>;
