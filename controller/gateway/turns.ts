import { WormholeError } from '../errors.ts';

interface Queue {
  last: Promise<unknown>;
  size: number;
}

/** Lets one thing at a time happen for each name, in the order in which they were asked for. */
export class Turns {
  readonly #most: number;
  readonly #queues = new Map<string, Queue>();

  /** @param most how many of one name may be under way or wait. */
  constructor(most: number) {
    this.#most = most;
  }

  /** @throws {WormholeError} TOO_MANY_REQUESTS, when as many as may are there already. */
  async take(name: string, work: () => Promise<void>): Promise<void> {
    const queue = this.#queues.get(name) ?? { last: Promise.resolve(), size: 0 };
    if (queue.size >= this.#most) {
      throw new WormholeError(
        'TOO_MANY_REQUESTS',
        `${this.#most} requests of attempt ${name} wait already; send one at a time`,
        { retryAfterMs: 1000 },
      );
    }
    this.#queues.set(name, queue);
    queue.size += 1;
    const turn = queue.last.then(work).finally(() => {
      queue.size -= 1;
      if (queue.size === 0) this.#queues.delete(name);
    });
    queue.last = turn.catch(() => undefined);
    await turn;
  }
}
