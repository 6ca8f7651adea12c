import { createHash } from 'node:crypto';
import type { AttemptRef, RunId } from '../model/ids.ts';

/** Which trace a run belongs to (https://www.w3.org/TR/trace-context/). */
export interface RunTrace {
  /** 16 bytes, in hexadecimal. */
  readonly traceId: string;
  /** The span that the run was submitted in, 8 bytes in hexadecimal; null: the run is the trace's root. */
  readonly parentSpanId: string | null;
  /** Whether whoever began the trace records it. */
  readonly isSampled: boolean;
}

const TRACEPARENT = /^00-(?<traceId>[0-9a-f]{32})-(?<parentSpanId>[0-9a-f]{16})-(?<flags>[0-9a-f]{2})$/;
const SAMPLED = 1;

/**
 * @param traceparent what the run was submitted with, if anything.
 * @returns its trace: the one of `traceparent`, else one of its own, whose id is the run's.
 */
export function traceOf(runId: RunId, traceparent: string | null): RunTrace {
  const { traceId, parentSpanId, flags } = TRACEPARENT.exec(traceparent ?? '')?.groups ?? {};
  if (traceId === undefined || parentSpanId === undefined || flags === undefined) {
    return { traceId: runId.replaceAll('-', ''), parentSpanId: null, isSampled: true };
  }
  return { traceId, parentSpanId, isSampled: (Number.parseInt(flags, 16) & SAMPLED) === SAMPLED };
}

const SPAN_ID_DIGITS = 16;

/** @returns the same span id for the same thing, whoever asks, so that spans need not be passed on to be referred to. */
const spanId = (...path: readonly (string | number)[]): string =>
  createHash('sha256').update(path.join('/')).digest('hex').slice(0, SPAN_ID_DIGITS);

export const runSpanId = (runId: RunId): string => spanId(runId);
export const attemptSpanId = ({ runId, attempt }: AttemptRef): string => spanId(runId, attempt);
/** @param phase what of the attempt it is: `queue` or `start`. */
export const phaseSpanId = ({ runId, attempt }: AttemptRef, phase: 'queue' | 'start'): string =>
  spanId(runId, attempt, 'phase', phase);
export const stepSpanId = ({ runId, attempt }: AttemptRef, stepKey: string): string =>
  spanId(runId, attempt, 'step', stepKey);

/** @returns the `traceparent` header that each step sends, by the step's key. */
export function stepTraceparents(
  attempt: AttemptRef,
  traceparent: string | null,
  stepKeys: readonly string[],
): Record<string, string> {
  const { traceId, isSampled } = traceOf(attempt.runId, traceparent);
  const flags = isSampled ? '01' : '00';
  return Object.fromEntries(
    stepKeys.map((key) => [key, `00-${traceId}-${stepSpanId(attempt, key)}-${flags}`]),
  );
}
