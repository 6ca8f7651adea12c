import type { OutputStream } from '../controller/cli/output.ts';

/** Of what is counted, at least this many steps pass between two lines of a log, */
const LOGGED_EVERY = 10;
/** and there are at most so many lines. */
const MOST_LOGGED = 20;

/** Says on standard error how far the benchmark is: one line that changes on a terminal, few lines elsewhere. */
export class Progress {
  readonly #stream: OutputStream;
  #logged = 0;

  constructor(stream: OutputStream) {
    this.#stream = stream;
  }

  /** Something else begins. */
  step(text: string): void {
    this.#stream.write(`… ${text}\n`);
    this.#logged = 0;
  }

  /** `done` of `all` are done. */
  count(what: string, done: number, all: number): void {
    const text = `  ${what}: ${done} of ${all}`;
    if (this.#stream.isTTY === true) this.#stream.write(`\r${text}${done === all ? '\n' : ''}`);
    else if (done === all || done - this.#logged >= Math.max(LOGGED_EVERY, all / MOST_LOGGED)) {
      this.#stream.write(`${text}\n`);
      this.#logged = done;
    }
  }
}
