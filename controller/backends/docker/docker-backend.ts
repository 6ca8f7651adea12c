import { setTimeout as delay } from 'node:timers/promises';
import type Dockerode from 'dockerode';
import type { ContainerInspectInfo } from 'dockerode';
import type { Logger } from 'pino';
import { BackendError, messageOf } from '../../errors.ts';
import { attemptName, type AttemptRef } from '../../model/ids.ts';
import type { AttemptSpec, Backend, BackendAttempt, Observation } from '../types.ts';
import type { RunChannels } from './channels.ts';
import {
  containerName,
  containerSpec,
  identityLabels,
  type ContainerSecurity,
  type ContainerSpecOptions,
} from './container-spec.ts';
import { identityOf } from '../attempt-labels.ts';
import { attemptOf, stateOf } from './container-state.ts';
import { accepting, startError } from './engine-error.ts';
import { instanceFilter } from './engine-watch.ts';
import { observeContainers } from './observe.ts';
import { RunFolders } from './run-folder.ts';

const QUICK_CALL_MS = 30_000;
/** For what the engine works on itself: creating, starting and removing a container. */
const SLOW_CALL_MS = 60_000;
const NAME_TRIES = 40;
const NAME_RETRY_MS = 50;

export interface DockerBackendOptions {
  readonly docker: Dockerode;
  /** Name or id of the runner's image; it must be there already. */
  readonly image: string;
  /** Name of this platform instance: part of every container's name. */
  readonly instance: string;
  /** Folder for the per-run folders; made when missing, and closed to other users. */
  readonly runDir: string;
  /** See {@link RunFoldersOptions.egressDir}. */
  readonly egressDir?: string;
  readonly channels: RunChannels;
  readonly security: ContainerSecurity;
  readonly log: Logger;
  /** See {@link EngineWatchOptions.relistMs}. */
  readonly relistMs?: number;
}

/** Runs each attempt in a container of its own on one Docker Engine. */
export class DockerBackend implements Backend {
  readonly name = 'docker';
  readonly claimProof = 'token';
  readonly #options: DockerBackendOptions;
  readonly #folders: RunFolders;

  /** @throws {WormholeError} CONFIG_INVALID when `runDir` is too long for Unix sockets. */
  constructor(options: DockerBackendOptions) {
    this.#options = options;
    this.#folders = new RunFolders(options.runDir, options);
  }

  async start(spec: AttemptSpec): Promise<BackendAttempt> {
    const what = `run ${spec.runId}, attempt ${spec.attempt}`;
    const { claimToken } = spec;
    if (claimToken === null) throw new TypeError(`${what}: the Docker backend needs a claim token`);
    let mayRemove = true;
    try {
      const folder = await this.#folders.create(spec, claimToken);
      const egressFolder = this.#folders.egressPathOf(spec);
      // Both are waited for, also when one fails: nothing is under way any more when it is cleaned up.
      const [container, channels] = await Promise.allSettled([
        this.#createOrFind(spec, { folder, egressFolder }, what),
        this.#options.channels.open(spec, folder),
      ]);
      if (container.status === 'rejected') throw startError(container.reason, what);
      mayRemove = typeof container.value === 'string';
      if (channels.status === 'rejected') throw startError(channels.reason, what);
      const attempt =
        typeof container.value === 'string'
          ? created(spec, container.value)
          : this.#recognise(spec, container.value, what);
      if (attempt.state !== 'created') return attempt;
      await this.#startContainer(attempt.containerId);
      return { ...attempt, state: 'running' };
    } catch (error) {
      const failure = startError(error, what);
      // Not for this call to remove: a container that was there before, or may even run by now.
      if (mayRemove && !failure.unanswered) await this.#removeFailed(spec);
      throw failure;
    }
  }

  async adopt(ref: AttemptRef): Promise<void> {
    if (!(await this.#folders.exists(ref))) {
      throw new BackendError(
        'RUNNER_LOST',
        `run ${ref.runId}, attempt ${ref.attempt}: its folder ${this.#folders.pathOf(ref)} is gone, and with it the way to its container`,
        { retryable: true },
      );
    }
    await this.#options.channels.reopen(ref, this.#folders.pathOf(ref));
  }

  async stop(ref: AttemptRef, options: { readonly graceMs: number }): Promise<void> {
    const info = await this.#lookUp(ref);
    if (info === undefined) return;
    const container = this.#container(info.Id);
    // 304 and 409: it ended in the meantime.
    await (options.graceMs <= 0
      ? accepting(
          [404, 409],
          container.kill({ signal: 'SIGKILL', abortSignal: AbortSignal.timeout(QUICK_CALL_MS) }),
        )
      : accepting(
          [304, 404],
          container.stop({
            t: Math.ceil(options.graceMs / 1000),
            abortSignal: AbortSignal.timeout(options.graceMs + QUICK_CALL_MS),
          }),
        ));
  }

  async remove(ref: AttemptRef): Promise<void> {
    // Ours goes even when the engine does not answer: what the engine has is listed until it is gone, a folder is not.
    const [container, channels] = await Promise.allSettled([
      this.#removeContainer(ref),
      this.#options.channels.close(ref),
    ]);
    await this.#folders.remove(ref);
    for (const part of [container, channels]) if (part.status === 'rejected') throw part.reason;
  }

  /** 409: another removal of it is under way. */
  async #removeContainer(ref: AttemptRef): Promise<void> {
    const info = await this.#lookUp(ref);
    if (info === undefined) return;
    const abortSignal = AbortSignal.timeout(SLOW_CALL_MS);
    await accepting([404, 409], this.#container(info.Id).remove({ force: true, v: true, abortSignal }));
  }

  async find(ref: AttemptRef): Promise<BackendAttempt | undefined> {
    const info = await this.#lookUp(ref);
    return info && attemptOf(info);
  }

  async list(): Promise<BackendAttempt[]> {
    const containers = await this.#options.docker.listContainers({
      all: true,
      filters: { label: instanceFilter(this.#options.instance) },
      abortSignal: AbortSignal.timeout(QUICK_CALL_MS),
    });
    const attempts = await Promise.all(
      containers.map(async (container): Promise<BackendAttempt | undefined> => {
        const identity = identityOf(container.Labels);
        if (identity === undefined) return undefined;
        const state = stateOf(container.State);
        if (state !== 'ended') return { ...identity, containerId: container.Id, state };
        const info = await this.#inspect(container.Id);
        return info && attemptOf(info);
      }),
    );
    return attempts.filter((attempt) => attempt !== undefined);
  }

  observe(signal: AbortSignal): AsyncIterable<Observation> {
    return observeContainers(this.#options, signal);
  }

  /**
   * Makes the folder of the per-run folders, and removes those that have no container: what is left when a controller
   * dies between making a folder and creating its container. Call it at start-up; a start that is under way elsewhere is
   * younger than `minAgeMs`, and 0 says that there is none.
   */
  async removeOrphanFolders(minAgeMs: number): Promise<void> {
    const kept = new Set((await this.list()).map(attemptName));
    const removed = await this.#folders.removeOrphans(kept, minAgeMs);
    if (removed.length > 0)
      this.#options.log.info({ removed }, 'removed folders of runs that have no container');
  }

  /** @returns the last lines that the attempt's container printed, for the diagnosis of a crash; empty when it is gone. */
  async outputTail(ref: AttemptRef, lines = 20): Promise<string> {
    const info = await this.#lookUp(ref);
    if (info === undefined) return '';
    const framed = await accepting(
      [404, 409],
      this.#container(info.Id).logs({
        ...{ follow: false, stdout: true, stderr: true, tail: lines },
        abortSignal: AbortSignal.timeout(QUICK_CALL_MS),
      }),
    );
    return framed === undefined ? '' : unframe(framed);
  }

  /** @returns the id of the new container, or the one that has its name already. */
  async #createOrFind(
    spec: AttemptSpec,
    folders: Pick<ContainerSpecOptions, 'folder' | 'egressFolder'>,
    what: string,
  ): Promise<string | ContainerInspectInfo> {
    const { image, instance, security, docker } = this.#options;
    const name = containerName(instance, spec);
    for (let tries = 1; tries <= NAME_TRIES; tries += 1) {
      const container = await accepting(
        [409],
        docker.createContainer({
          ...containerSpec(spec, { image, instance, ...folders, security }),
          abortSignal: AbortSignal.timeout(SLOW_CALL_MS),
        }),
      );
      const found = container?.id ?? (await this.#inspect(name));
      if (found !== undefined) return found;
      // The name is taken and yet nobody has it: another call is just creating or removing that container.
      await delay(NAME_RETRY_MS);
    }
    throw new BackendError(
      'UNSCHEDULABLE',
      `${what}: the container name "${name}" stays taken by no container`,
      {
        retryable: true,
      },
    );
  }

  /** @returns the attempt as the container that was there before shows it. */
  #recognise(spec: AttemptSpec, info: ContainerInspectInfo, what: string): BackendAttempt {
    const attempt = this.#isOurs(info, spec) ? attemptOf(info) : undefined;
    if (attempt?.tenantId === spec.tenantId) return attempt;
    throw new BackendError(
      'ADMISSION_DENIED',
      `${what}: the container name "${info.Name.slice(1)}" is taken by a container that is not this attempt's: remove it`,
      { retryable: false },
    );
  }

  /** 304: somebody else has started it in the meantime. */
  async #startContainer(containerId: string): Promise<void> {
    await accepting(
      [304],
      this.#container(containerId).start({ abortSignal: AbortSignal.timeout(SLOW_CALL_MS) }),
    );
  }

  async #removeFailed(ref: AttemptRef): Promise<void> {
    try {
      await this.remove(ref);
    } catch (error) {
      // The controller removes every attempt that has ended: what is left now goes then.
      this.#options.log.warn(
        { ...refOf(ref), error: messageOf(error) },
        'could not clean up after a failed start',
      );
    }
  }

  /** @returns the attempt's container, or undefined when there is none, or one that is not ours to touch. */
  async #lookUp(ref: AttemptRef): Promise<ContainerInspectInfo | undefined> {
    const info = await this.#inspect(containerName(this.#options.instance, ref));
    return info !== undefined && this.#isOurs(info, ref) ? info : undefined;
  }

  #isOurs(info: ContainerInspectInfo, ref: AttemptRef): boolean {
    return Object.entries(identityLabels(this.#options.instance, ref)).every(
      ([label, value]) => info.Config.Labels[label] === value,
    );
  }

  #inspect(idOrName: string): Promise<ContainerInspectInfo | undefined> {
    return accepting(
      [404],
      this.#container(idOrName).inspect({ abortSignal: AbortSignal.timeout(QUICK_CALL_MS) }),
    );
  }

  #container(idOrName: string): Dockerode.Container {
    return this.#options.docker.getContainer(idOrName);
  }
}

const created = (spec: AttemptSpec, containerId: string): BackendAttempt => ({
  ...refOf(spec),
  tenantId: spec.tenantId,
  containerId,
  state: 'created',
});

const refOf = ({ runId, attempt }: AttemptRef): AttemptRef => ({ runId, attempt });

/** Takes the 8-byte frame headers (stream, length) out of the engine's log format. */
function unframe(framed: Buffer): string {
  const parts: Buffer[] = [];
  for (let at = 0; at + 8 <= framed.length;) {
    const end = at + 8 + framed.readUInt32BE(at + 4);
    parts.push(framed.subarray(at + 8, end));
    at = end;
  }
  return Buffer.concat(parts).toString('utf8');
}
