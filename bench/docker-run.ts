import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import type Dockerode from 'dockerode';
import {
  containerName,
  containerSpec,
  type ContainerSpec,
} from '../controller/backends/docker/container-spec.ts';
import type { AttemptSpec } from '../controller/backends/types.ts';
import { Dialer } from '../controller/egress/dial.ts';
import { signGrant } from '../controller/egress/grant.ts';
import type { InternalService } from '../controller/egress/internal-service.ts';
import { EgressProxy } from '../controller/egress/proxy.ts';
import { newRunId, newWorkflowVersionId } from '../controller/model/ids.ts';
import type { Tenant } from '../controller/model/tenant.ts';
import { dockerRunArguments } from './docker-run-arguments.ts';

const run = promisify(execFile);
const readProgram = (name: string): string => readFileSync(new URL(name, import.meta.url), 'utf8');
const ONE_CALL = readProgram('one_call.py');
const INTERPRETER_START = readProgram('interpreter_start.py');
const LIFETIME_MS = 60 * 60 * 1000;

export interface DockerRunOptions {
  readonly docker: Dockerode;
  /** The engine's Unix socket. */
  readonly socketPath: string;
  readonly image: string;
  /** A folder that may be made, for the proxy's socket. */
  readonly folder: string;
  /** Whose limits and egress policy apply. */
  readonly tenant: Tenant;
  readonly internalServices: readonly InternalService[];
  /** What is requested. */
  readonly url: string;
}

/**
 * What the platform is measured against: `docker run --rm` of the same image with the same flags, making the same
 * request through an egress proxy that is there already.
 */
export class DockerRun {
  /** What makes the containers: the `docker` command, or where there is none the same calls of the Engine API. */
  readonly means: 'docker command' | 'Engine API';
  /** A platform's name of its own, so that no platform takes the containers for its. */
  readonly instance = `bench-${randomBytes(4).toString('hex')}`;
  readonly #options: DockerRunOptions;
  readonly #template: AttemptSpec;
  readonly #grant: string;
  readonly #closeProxy: () => Promise<void>;

  private constructor(
    options: DockerRunOptions,
    means: DockerRun['means'],
    template: AttemptSpec,
    grant: string,
    closeProxy: () => Promise<void>,
  ) {
    this.means = means;
    this.#options = options;
    this.#template = template;
    this.#grant = grant;
    this.#closeProxy = closeProxy;
  }

  /** Starts the egress proxy. */
  static async prepare(options: DockerRunOptions): Promise<DockerRun> {
    const { tenant, folder, internalServices } = options;
    const grantKey = randomBytes(32);
    const until = new Date(Date.now() + LIFETIME_MS);
    const template: AttemptSpec = {
      runId: newRunId(),
      attempt: 1,
      tenantId: tenant.id,
      workflowVersionId: newWorkflowVersionId(),
      limits: tenant.limits,
      deadlineInMs: LIFETIME_MS,
      claimToken: '',
    };
    const { runId, attempt } = template;
    const proxy = new EgressProxy({
      grantKey,
      dialer: new Dialer(),
      internalServices,
      onDecision: () => undefined,
    });
    await mkdir(folder, { mode: 0o755 });
    const closeProxy = await proxy.listenOn(`${folder}/egress.sock`, template);
    const grant = signGrant(grantKey, {
      ...{ tenantId: tenant.id, runId, attempt },
      policy: tenant.egress,
      expiresAt: until.getTime(),
    });
    return new DockerRun(options, await findMeans(), template, grant, closeProxy);
  }

  /**
   * Makes the request in a container, to its end and removal.
   * @returns the container's name and how long all that took, in milliseconds.
   * @throws when the request failed.
   */
  async once(signal: AbortSignal): Promise<{ readonly name: string; readonly ms: number }> {
    const spec = this.#spec([ONE_CALL, this.#options.url, this.#grant]);
    return await this.#cleaningUp(spec, async () => {
      const from = performance.now();
      if (this.means === 'docker command') await this.#byCommand(spec, signal);
      else await this.#byApi(spec, signal);
      return { name: spec.name, ms: performance.now() - from };
    });
  }

  /** @returns how long the interpreter takes in such a container until the program's first line, in milliseconds. */
  async interpreterMs(signal: AbortSignal): Promise<number> {
    const spec = this.#spec([INTERPRETER_START]);
    return await this.#cleaningUp(spec, async () => {
      const [, ms] = /([\d.]+)\s*$/.exec(await this.#byApi(spec, signal)) ?? [];
      if (ms === undefined)
        throw new Error('the interpreter in the image did not tell how long it takes to start');
      return Number(ms);
    });
  }

  #spec(program: readonly string[]): ContainerSpec & { readonly name: string } {
    const { image, folder } = this.#options;
    const { instance } = this;
    const attempt = { ...this.#template, runId: newRunId() };
    return {
      ...containerSpec(attempt, { image, instance, folder, security: {} }),
      name: containerName(instance, attempt),
      // The interpreter's options are those of the image's entry point.
      Entrypoint: ['/usr/bin/python3', '-I', '-X', 'utf8', '-c'],
      Cmd: [...program],
    };
  }

  async #cleaningUp<T>(spec: { readonly name: string }, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      await this.#options.docker.getContainer(spec.name).remove({ force: true }).catch(ignoreGone);
      throw error;
    }
  }

  async #byCommand(spec: ContainerSpec, signal: AbortSignal): Promise<void> {
    const args = ['--host', `unix://${this.#options.socketPath}`, ...dockerRunArguments(spec)];
    await run('docker', args, { signal });
  }

  /** @returns what the container printed. */
  async #byApi(spec: ContainerSpec, abortSignal: AbortSignal): Promise<string> {
    const container = await this.#options.docker.createContainer({ ...spec, abortSignal });
    const ended = container.wait({ condition: 'next-exit', abortSignal }) as Promise<{ StatusCode: number }>;
    // Both are awaited together: a failed start must not leave the other one unheard.
    const [{ StatusCode: exitCode }] = await Promise.all([ended, container.start({ abortSignal })]);
    const printed = await container.logs({ follow: false, stdout: true, stderr: true, abortSignal });
    if (exitCode !== 0)
      throw new Error(`a container without the platform failed: ${printed.toString('latin1')}`);
    await container.remove({ v: true, abortSignal });
    return printed.toString('latin1');
  }

  /** Stops the proxy. */
  async close(): Promise<void> {
    await this.#closeProxy();
  }
}

async function findMeans(): Promise<DockerRun['means']> {
  try {
    await run('docker', ['--version']);
    return 'docker command';
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return 'Engine API';
  }
}

function ignoreGone(error: unknown): void {
  if ((error as { statusCode?: number }).statusCode !== 404) throw error;
}
