import type Dockerode from 'dockerode';
import { messageOf, WormholeError } from '../errors.ts';

/** Whether something that the engine was asked for does not exist. */
export function isNotFound(error: unknown): boolean {
  return error instanceof Error && 'statusCode' in error && error.statusCode === 404;
}

/** @returns whether the engine has the image. */
export async function hasImage(docker: Dockerode, name: string): Promise<boolean> {
  try {
    await docker.getImage(name).inspect();
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

/**
 * Pulls an image.
 * @throws {WormholeError} IMAGE_BUILD_FAILED with what the registry or the engine said.
 */
export async function pullImage(
  docker: Dockerode,
  name: string,
  onProgress: (step: string) => void,
): Promise<void> {
  onProgress(`pulling the image ${name}`);
  try {
    // Without a tag the engine would pull every tag that there is.
    const named = name.includes('@') || /:[^/]*$/.test(name) ? name : `${name}:latest`;
    const stream: NodeJS.ReadableStream = await docker.pull(named);
    await followProgress(docker, stream);
  } catch (error) {
    throw new WormholeError(
      'IMAGE_BUILD_FAILED',
      `the image "${name}" is not on this engine and cannot be pulled: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

/**
 * Waits for the end of a pull or a build.
 * @returns what the engine printed meanwhile.
 * @throws {Error} with what the engine reports as the failure, and the end of what it printed.
 */
export async function followProgress(docker: Dockerode, stream: NodeJS.ReadableStream): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let printed = '';
  let failure: string | undefined;
  docker.modem.followProgress(
    stream,
    (error) => {
      const message = error?.message ?? failure;
      if (message === undefined) resolve(printed);
      else reject(new Error(`${message}\n${printed.trim().slice(-4000)}`.trim(), { cause: error }));
    },
    // The engine answers 200 before it begins, and tells a failure as the last event.
    (event: { readonly stream?: string; readonly error?: string }) => {
      printed += event.stream ?? '';
      failure ??= event.error;
    },
  );
  return await promise;
}
