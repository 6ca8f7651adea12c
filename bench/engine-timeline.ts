import { EventEmitter, once } from 'node:events';
import { createInterface } from 'node:readline';
import type Dockerode from 'dockerode';
import { z } from 'zod';
import { LABELS, MANAGED_BY } from '../controller/model/labels.ts';

/** When things happened to a container, by the engine's clock: milliseconds since the epoch, with fractions. */
export interface ContainerTimes {
  readonly containerId: string;
  readonly name: string;
  /** Which platform it belongs to. */
  readonly instance: string;
  readonly tenantId: string;
  readonly created?: number;
  readonly started?: number;
  readonly died?: number;
}

const EVENTS = { create: 'created', start: 'started', die: 'died' } as const;

const eventSchema = z.object({
  Action: z.enum(['create', 'start', 'die']),
  Actor: z.object({
    ID: z.string(),
    Attributes: z.looseObject({
      name: z.string(),
      [LABELS.instance]: z.string(),
      [LABELS.tenantId]: z.string(),
    }),
  }),
  timeNano: z.number(),
});

/** Writes down what the engine says about containers of ours, of any platform. */
export class EngineTimeline {
  readonly #containers = new Map<string, ContainerTimes>();
  readonly #changed = new EventEmitter();
  readonly #over: AbortController;
  #isLost = false;

  private constructor(over: AbortController) {
    this.#over = over;
    this.#changed.setMaxListeners(0);
  }

  /** Begins to listen. */
  static async open(docker: Dockerode): Promise<EngineTimeline> {
    const over = new AbortController();
    const timeline = new EngineTimeline(over);
    const stream = await docker.getEvents({
      filters: {
        type: ['container'],
        event: Object.keys(EVENTS),
        label: [`${LABELS.managedBy}=${MANAGED_BY}`],
      },
      abortSignal: over.signal,
    });
    stream.on('error', () => timeline.#lost());
    stream.on('close', () => timeline.#lost());
    createInterface({ input: stream })
      .on('line', (line) => timeline.#receive(line))
      .on('error', () => timeline.#lost());
    return timeline;
  }

  /** @returns what is known of all containers of a platform so far. */
  of(instance: string): ContainerTimes[] {
    return [...this.#containers.values()].filter((container) => container.instance === instance);
  }

  /**
   * Resolves with all three times of a container as soon as it has died.
   * @throws when the engine's events are lost; the signal's reason.
   */
  async whole(
    isWanted: (container: ContainerTimes) => boolean,
    signal: AbortSignal,
  ): Promise<Required<ContainerTimes>> {
    while (!this.#isLost) {
      const found = [...this.#containers.values()].find(isWanted);
      if (isWhole(found)) return found;
      await once(this.#changed, 'change', { signal });
    }
    throw new Error("the engine's stream of events ended early, so nothing can be measured by it");
  }

  /** Stops listening. */
  close(): void {
    this.#over.abort();
  }

  #receive(line: string): void {
    const event = eventSchema.safeParse(JSON.parse(line));
    // Another program's container that only borrows our label.
    if (!event.success) return;
    const { Action: action, Actor: actor, timeNano } = event.data;
    const attributes = actor.Attributes as Record<string, string>;
    this.#containers.set(actor.ID, {
      containerId: actor.ID,
      name: attributes['name'] ?? '',
      instance: attributes[LABELS.instance] ?? '',
      tenantId: attributes[LABELS.tenantId] ?? '',
      ...this.#containers.get(actor.ID),
      [EVENTS[action]]: timeNano / 1e6,
    });
    this.#changed.emit('change');
  }

  #lost(): void {
    this.#isLost = true;
    this.#changed.emit('change');
  }
}

const isWhole = (times: ContainerTimes | undefined): times is Required<ContainerTimes> =>
  times?.created !== undefined && times.started !== undefined && times.died !== undefined;
