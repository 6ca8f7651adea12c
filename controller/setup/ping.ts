import Dockerode from 'dockerode';

const PING_TIMEOUT_MS = 3000;

/** Where an engine listens, as dockerode wants it. */
export type EngineAddress =
  | { readonly socketPath: string }
  | { readonly protocol: 'http'; readonly host: string; readonly port: number };

/** @returns undefined when an engine answers there, else what went wrong. */
export async function pingFailure(address: EngineAddress): Promise<Error | undefined> {
  try {
    await new Dockerode({ ...address, timeout: PING_TIMEOUT_MS }).ping();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** @returns whether an engine answers on the Unix socket. */
export async function answers(socketPath: string): Promise<boolean> {
  return (await pingFailure({ socketPath })) === undefined;
}
