import { homedir } from 'node:os';
import { join } from 'node:path';
import Dockerode from 'dockerode';
import { messageOf, WormholeError } from '../errors.ts';
import { canInstallPackages, isDebian } from './debian.ts';
import { answers, pingFailure, type EngineAddress } from './ping.ts';
import { PrivateEngine } from './private-engine.ts';

/** A container engine that answers. */
export interface Engine {
  readonly docker: Dockerode;
  /** Where it is, for people: `the engine at unix:///var/run/docker.sock`. */
  readonly description: string;
  /** Ends this use of it. Stops it if it is our private one and nobody else uses it. Idempotent. */
  release(): Promise<void>;
}

export interface EngineOptions {
  /**
   * `unix:///path` or `tcp://host:port`: this engine and no other.
   * @default - the first that answers of the usual sockets and our private engine, which is started if need be
   */
  readonly dockerHost?: string | undefined;
  /** The platform's cache folder: a private engine lives in `engine` below it. */
  readonly cacheDir: string;
  /**
   * Whether a private engine may be installed and started.
   * @default true
   */
  readonly mayStart?: boolean;
  /** Told before each slow step, in words for the user. */
  readonly onProgress?: (step: string) => void;
}

/**
 * Finds a container engine, or on Debian and Ubuntu as root starts a private one, installing it first if need be.
 * @throws {WormholeError} ENGINE_UNAVAILABLE, with what to install or start on this machine.
 */
export async function connectEngine(options: EngineOptions): Promise<Engine> {
  if (options.dockerHost !== undefined) return await connectTo(options.dockerHost);
  for (const socketPath of usualSockets()) {
    if (await answers(socketPath)) return sharedEngine({ socketPath }, `unix://${socketPath}`);
  }
  const engine = new PrivateEngine(options.cacheDir, options.onProgress ?? (() => undefined));
  const mayStart = (options.mayStart ?? true) && canInstallPackages();
  const lease = (await engine.acquireRunning()) ?? (mayStart ? await engine.acquire() : undefined);
  if (lease === undefined) {
    throw new WormholeError('ENGINE_UNAVAILABLE', `no container engine answers. ${await wayOut()}`);
  }
  let released: Promise<void> | undefined;
  return {
    docker: new Dockerode({ socketPath: engine.socketPath }),
    description: `a private engine at unix://${engine.socketPath}`,
    release: () => (released ??= engine.release(lease)),
  };
}

async function connectTo(dockerHost: string): Promise<Engine> {
  const failure = (why: string, cause?: unknown) =>
    new WormholeError('ENGINE_UNAVAILABLE', `the container engine at DOCKER_HOST="${dockerHost}" ${why}`, {
      cause,
    });
  const url = URL.parse(dockerHost);
  let address: EngineAddress;
  if (url?.protocol === 'unix:') address = { socketPath: url.pathname };
  else if (url?.protocol === 'tcp:' && url.port !== '') {
    address = { protocol: 'http', host: url.hostname, port: Number(url.port) };
  } else throw failure('cannot be used: it must be unix:///path or tcp://host:port');
  const error = await pingFailure(address);
  if (error !== undefined) {
    throw failure(
      `does not answer (${messageOf(error)}): start it, or unset DOCKER_HOST to look for another`,
      error,
    );
  }
  return sharedEngine(address, dockerHost);
}

/** An engine that was there before us and stays after us. */
function sharedEngine(address: EngineAddress, name: string): Engine {
  return {
    docker: new Dockerode(address),
    description: `the engine at ${name}`,
    release: () => Promise.resolve(),
  };
}

/** Where Docker listens when nobody says otherwise: the system's, a rootless one, Docker Desktop, Colima. */
function usualSockets(): string[] {
  const uid = process.getuid?.();
  return [
    '/var/run/docker.sock',
    ...(uid === undefined ? [] : [`/run/user/${uid}/docker.sock`]),
    join(homedir(), '.docker', 'run', 'docker.sock'),
    join(homedir(), '.colima', 'default', 'docker.sock'),
  ];
}

/** What a user of this machine should do about a missing engine. */
async function wayOut(): Promise<string> {
  const other = 'or set DOCKER_HOST to an engine that runs';
  const system = await pingFailure({ socketPath: '/var/run/docker.sock' });
  if (system !== undefined && 'code' in system && system.code === 'EACCES') {
    return `The one at /var/run/docker.sock refuses this user: sudo usermod -aG docker "$USER", log in again; ${other}`;
  }
  if (process.platform === 'darwin') {
    return `Install Docker Desktop (https://docs.docker.com/desktop/) or Colima (brew install colima docker && colima start); ${other}`;
  }
  if (process.platform === 'linux' && isDebian()) {
    return `Run this as root once (sudo), which installs and starts a private one; or sudo apt-get install docker.io && sudo usermod -aG docker "$USER", log in again; ${other}`;
  }
  if (process.platform === 'linux') {
    return `Install Docker Engine (https://docs.docker.com/engine/install/) and start it (sudo systemctl start docker); ${other}`;
  }
  return `Install Docker Desktop (https://docs.docker.com/desktop/) and run this inside WSL 2; ${other}`;
}
