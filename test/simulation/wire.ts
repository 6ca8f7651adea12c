import type { Random } from '../chaos/random.ts';
import type { Process } from './process.ts';
import type { VirtualTime } from './virtual-time.ts';

export interface WireOptions {
  readonly time: VirtualTime;
  readonly random: Random;
  /** Who asks. A question that is on its way arrives even if who asked has died since. */
  readonly process: Process;
  /** Whether nobody is there to answer. */
  readonly isDown: () => boolean;
  /** How likely a question, and as likely an answer, is lost now. */
  readonly lossChance: () => number;
  /** What who asked is told when nothing came back. */
  readonly noAnswer: () => Error;
}

const SLOW_CHANCE = 0.03;
/** An answer that is not slow, one that is, and one that never comes: in ms. */
const LATENCY_MS = { usual: 5, slow: 400, given_up: 2_000 };

/** The longest that a question is on its way, in ms. */
export const LONGEST_WAY_MS = LATENCY_MS.slow;

/** What a process asks others through. The answer may be lost although what was asked for has happened. */
export class Wire {
  readonly #options: WireOptions;

  constructor(options: WireOptions) {
    this.#options = options;
  }

  /** Asks: `serve` happens elsewhere, later, all at once, or not at all. @throws what `serve` throws, and `noAnswer()`. */
  async ask<T>(serve: () => T): Promise<T> {
    const { time, random, process, isDown, lossChance, noAnswer } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const answer = (delayMs: number, give: () => void): void => {
      time.after(delayMs, () => process.reach(give));
    };
    const giveUp = (): void =>
      answer(random.between(1, random.chance(0.2) ? LATENCY_MS.given_up : LATENCY_MS.usual), () =>
        reject(noAnswer()),
      );
    time.after(this.#wayMs(), () => {
      if (isDown() || random.chance(lossChance())) {
        giveUp();
        return;
      }
      let give: () => void;
      try {
        const served = serve();
        give = () => resolve(served);
      } catch (error) {
        give = () => reject(error);
      }
      if (random.chance(lossChance())) giveUp();
      else answer(this.#wayMs(), give);
    });
    return await promise;
  }

  #wayMs(): number {
    const { random } = this.#options;
    return random.between(1, random.chance(SLOW_CHANCE) ? LATENCY_MS.slow : LATENCY_MS.usual);
  }
}
