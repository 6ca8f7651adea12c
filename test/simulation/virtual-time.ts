interface Event {
  readonly atMs: number;
  /** Of events at the same moment the one that was planned first happens first. */
  readonly order: number;
  work: (() => void) | undefined;
}

const isBefore = (one: Event, other: Event): boolean =>
  one.atMs === other.atMs ? one.order < other.order : one.atMs < other.atMs;

/** So many macrotasks are under way at a time: more of them share one turn of the event loop. */
const MACROTASKS = 16;

/**
 * Time that passes as fast as the machine can work. All that ever happens in a simulation is an event at a moment of it,
 * and what promises make of that event: the same events in the same order, whatever the machine does.
 */
export class VirtualTime {
  #nowMs = 0;
  #planned = 0;
  /** A binary heap. */
  readonly #events: Event[] = [];

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Does `work` in `delayMs`, never when that is infinite. @returns what calls it off. */
  after(delayMs: number, work: () => void): () => void {
    if (delayMs === Infinity) return () => undefined;
    const event: Event = { atMs: this.#nowMs + Math.max(0, delayMs), order: (this.#planned += 1), work };
    this.#push(event);
    return () => (event.work = undefined);
  }

  /**
   * Lets time pass, event by event, until `isOver`. Each event is a macrotask of its own, so that every promise that
   * it settles has had all its consequences before the next one.
   */
  async run(isOver: () => boolean): Promise<void> {
    const over = Promise.withResolvers<undefined>();
    let goesOn = true;
    const step = (): void => {
      if (!goesOn) return;
      try {
        goesOn = !isOver() && this.#happen();
        if (goesOn) setImmediate(step);
        else over.resolve(undefined);
      } catch (error) {
        goesOn = false;
        over.reject(error);
      }
    };
    for (let started = 0; started < MACROTASKS; started += 1) setImmediate(step);
    await over.promise;
  }

  /** @returns whether there was anything to happen. */
  #happen(): boolean {
    for (let event = this.#pop(); event !== undefined; event = this.#pop()) {
      if (event.work === undefined) continue;
      this.#nowMs = event.atMs;
      event.work();
      return true;
    }
    return false;
  }

  #push(event: Event): void {
    const heap = this.#events;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (isBefore(heap[parent]!, event)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): Event | undefined {
    const heap = this.#events;
    const [first] = heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child += 1;
      if (isBefore(last, heap[child]!)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}
