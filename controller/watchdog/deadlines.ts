/** When which container has to be dead. Pure: the clock is the caller's. Times in milliseconds since the epoch. */
export class Deadlines {
  readonly #byContainer = new Map<string, number>();

  /** How many containers have a deadline. */
  get size(): number {
    return this.#byContainer.size;
  }

  /** Sets a container's deadline; one that is set already is replaced. */
  set(containerId: string, deadlineMs: number): void {
    this.#byContainer.set(containerId, deadlineMs);
  }

  /** Forgets a container. */
  delete(containerId: string): void {
    this.#byContainer.delete(containerId);
  }

  /** Forgets all containers. */
  clear(): void {
    this.#byContainer.clear();
  }

  /** @returns the containers whose deadline is not after `nowMs`, the longest overdue first. */
  due(nowMs: number): string[] {
    return [...this.#byContainer]
      .filter(([, deadlineMs]) => deadlineMs <= nowMs)
      .sort(([, a], [, b]) => a - b)
      .map(([containerId]) => containerId);
  }

  /** @returns how long to wait from `nowMs` until the next container is due, or undefined when none has a deadline. */
  nextInMs(nowMs: number): number | undefined {
    if (this.#byContainer.size === 0) return undefined;
    return Math.max(0, Math.min(...this.#byContainer.values()) - nowMs);
  }
}

/** @returns the time that a deadline label tells, or undefined when it tells none. */
export function parseDeadline(label: string | undefined): number | undefined {
  const deadlineMs = Number(label);
  return label !== undefined && /^\d{1,15}$/.test(label) ? deadlineMs : undefined;
}
