import type pg from 'pg';
import type { TenantId } from '../model/ids.ts';
import type { RunChanges } from '../store/notifications.ts';
import { QueueFullError, submitRun, type Submitted, type SubmitRequest } from './submit.ts';
import { WaitingLines } from './waiting-lines.ts';

export interface SubmitOptions {
  /**
   * How long to wait for a place if the tenant's queue is full, in milliseconds.
   * @default - a minute if the tenant's `whenFull` is `wait`, otherwise not at all
   */
  readonly waitMs?: number | undefined;
  /** Gives the waiting up. A run that was accepted is not canceled. */
  readonly signal?: AbortSignal | undefined;
}

type Attempt =
  | { readonly kind: 'done'; readonly value: Submitted }
  | { readonly kind: 'full'; readonly retryAfterMs: number; readonly refusal: QueueFullError };

const DEFAULT_WAIT_MS = 60_000;
/** Node's timers hold at most this many milliseconds (2^31 - 1). */
const LONGEST_WAIT_MS = 2_147_483_647;

/** Where runs are submitted: who may wait waits here, without a connection and in the order of coming. */
export class Door {
  readonly #pool: pg.Pool;
  readonly #lines: WaitingLines;
  /** The last refusal of each tenant that has a line. */
  readonly #refusals = new Map<TenantId, QueueFullError>();
  readonly #closing = new AbortController();

  constructor(pool: pg.Pool, changes: RunChanges) {
    this.#pool = pool;
    this.#lines = new WaitingLines(changes);
  }

  /**
   * Submits the run, and waits for a place if that is wanted.
   * @throws {WormholeError} what `submitRun` refuses; QUEUE_FULL when there was no place in time; the signal's reason.
   */
  async submit(request: SubmitRequest, options: SubmitOptions = {}): Promise<Submitted> {
    options.signal?.throwIfAborted();
    // Who comes later waits behind the others, though there may be a place again by now.
    let refusal = this.#refusals.get(request.tenantId);
    if (refusal === undefined || waitOf(options, refusal) === 0) {
      const first = await this.#try(request);
      if (first.kind === 'done') return first.value;
      refusal = first.refusal;
    }
    const waitMs = waitOf(options, refusal);
    if (waitMs === 0) throw refusal;
    return await this.#wait(request, refusal, waitMs, options.signal);
  }

  async #wait(
    request: SubmitRequest,
    refusal: QueueFullError,
    waitMs: number,
    signal: AbortSignal | undefined,
  ): Promise<Submitted> {
    const { tenantId } = request;
    this.#refusals.set(tenantId, refusal);
    const tooLong = AbortSignal.timeout(Math.min(waitMs, LONGEST_WAIT_MS));
    const signals = [tooLong, this.#closing.signal, ...(signal === undefined ? [] : [signal])];
    try {
      return await this.#lines.wait(tenantId, () => this.#try(request), AbortSignal.any(signals));
    } catch (error) {
      throw error === tooLong.reason ? (this.#refusals.get(tenantId) ?? refusal) : error;
    } finally {
      if (this.#lines.lengthOf(tenantId) === 0) this.#refusals.delete(tenantId);
    }
  }

  async #try(request: SubmitRequest): Promise<Attempt> {
    try {
      return { kind: 'done', value: await submitRun(this.#pool, request) };
    } catch (error) {
      if (!(error instanceof QueueFullError)) throw error;
      if (this.#refusals.has(request.tenantId)) this.#refusals.set(request.tenantId, error);
      return { kind: 'full', retryAfterMs: error.retryAfterMs, refusal: error };
    }
  }

  /** Gives up all waiting. */
  close(): void {
    this.#closing.abort(new Error('the client was closed'));
  }
}

const waitOf = ({ waitMs }: SubmitOptions, { whenFull }: QueueFullError): number =>
  Math.max(0, waitMs ?? (whenFull === 'wait' ? DEFAULT_WAIT_MS : 0));
