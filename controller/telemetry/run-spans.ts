import { SpanKind, SpanStatusCode, TraceFlags, type Attributes, type HrTime } from '@opentelemetry/api';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import type { EndedAttempt, EndedRun, EndedStep } from './ended-run.ts';
import { attemptSpanId, phaseSpanId, runSpanId, stepSpanId, traceOf } from './trace-context.ts';

/** How far a step's times, which are those of the container's clock, may lie outside its attempt. */
const CLOCK_SLACK_MS = 3_600_000;

/** What all spans of a process have in common. */
export type SpanOrigin = Pick<ReadableSpan, 'resource' | 'instrumentationScope'>;

interface SpanFacts {
  readonly id: string;
  readonly parentId: string | null;
  readonly name: string;
  readonly kind?: SpanKind;
  readonly start: Date;
  readonly end: Date;
  /** Why it failed; null if it did not. */
  readonly failed: string | null;
  readonly attributes: Attributes;
  readonly events?: readonly { readonly name: string; readonly at: Date | null }[];
}

/**
 * @returns the run's part of its trace: the run; in it for each attempt the wait for it, and the attempt; in that the
 *   start until the claim, and the steps. Nothing of payloads, addresses, messages or credentials. Empty if whoever
 *   began the trace does not record it. Pure.
 */
export function spansOf(run: EndedRun, origin: SpanOrigin): ReadableSpan[] {
  const trace = traceOf(run.runId, run.traceparent);
  if (!trace.isSampled) return [];
  return [
    runSpan(run, trace.parentSpanId),
    ...run.attempts.flatMap((attempt) => attemptSpans(run, attempt)),
  ].map((facts) => readable(facts, trace.traceId, origin));
}

const runSpan = (run: EndedRun, parentId: string | null): SpanFacts => ({
  id: runSpanId(run.runId),
  parentId,
  name: 'workflow run',
  kind: SpanKind.CONSUMER,
  start: run.queuedAt,
  end: run.finishedAt,
  failed: run.reason,
  attributes: {
    ...common(run),
    'wormhole.workflow_version.id': run.workflowVersionId,
    'wormhole.run.status': run.status,
    'wormhole.run.attempts': run.attempts.length,
    ...(run.reason !== null && { 'wormhole.run.reason': run.reason }),
  },
});

const common = (run: EndedRun): Attributes => ({
  'wormhole.run.id': run.runId,
  'wormhole.tenant.id': run.tenantId,
});

function attemptSpans(run: EndedRun, attempt: EndedAttempt): SpanFacts[] {
  const ref = { runId: run.runId, attempt: attempt.number };
  const attributes = { ...common(run), 'wormhole.attempt': attempt.number };
  const before = run.attempts.find(({ number }) => number === attempt.number - 1);
  const end = attempt.endedAt ?? run.finishedAt;
  const parentId = attemptSpanId(ref);
  return [
    {
      id: phaseSpanId(ref, 'queue'),
      parentId: runSpanId(run.runId),
      name: 'queue',
      start: before?.endedAt ?? run.queuedAt,
      end: attempt.createdAt,
      failed: null,
      attributes,
    },
    {
      id: parentId,
      parentId: runSpanId(run.runId),
      name: 'attempt',
      start: attempt.createdAt,
      end,
      failed: attempt.reason,
      attributes: {
        ...attributes,
        'wormhole.mode': attempt.backend,
        ...(attempt.reason !== null && { 'wormhole.attempt.reason': attempt.reason }),
        ...(attempt.exitCode !== null && { 'process.exit.code': attempt.exitCode }),
      },
      events: [
        { name: 'claim', at: attempt.claimedAt },
        { name: 'result', at: attempt.resultAt },
      ],
    },
    {
      id: phaseSpanId(ref, 'start'),
      parentId,
      name: 'start',
      start: attempt.createdAt,
      end: attempt.claimedAt ?? end,
      failed: attempt.claimedAt === null ? attempt.reason : null,
      attributes,
    },
    ...run.steps
      .filter((step) => step.attempt === attempt.number)
      .flatMap((step) => stepSpans(step, attributes, ref, { start: attempt.createdAt, end })),
  ];
}

function stepSpans(
  step: EndedStep,
  attributes: Attributes,
  ref: { readonly runId: EndedRun['runId']; readonly attempt: number },
  attempt: { readonly start: Date; readonly end: Date },
): SpanFacts[] {
  // It was skipped.
  if (step.startedAt === null) return [];
  const within = (time: Date): Date =>
    new Date(
      Math.min(
        Math.max(time.getTime(), attempt.start.getTime() - CLOCK_SLACK_MS),
        attempt.end.getTime() + CLOCK_SLACK_MS,
      ),
    );
  return [
    {
      id: stepSpanId(ref, step.key),
      parentId: attemptSpanId(ref),
      name: `step ${step.key}`,
      kind: SpanKind.CLIENT,
      start: within(step.startedAt),
      end: within(step.finishedAt ?? attempt.end),
      failed: step.status === 'SUCCESS' ? null : (step.errorCode ?? step.status),
      attributes: {
        ...attributes,
        'wormhole.step.key': step.key,
        'wormhole.step.status': step.status,
        'wormhole.step.tries': step.tries,
        ...(step.errorCode !== null && { 'error.type': step.errorCode }),
        ...(step.httpStatus !== null && { 'http.response.status_code': step.httpStatus }),
      },
    },
  ];
}

function readable(facts: SpanFacts, traceId: string, origin: SpanOrigin): ReadableSpan {
  const context = (spanId: string) => ({ traceId, spanId, traceFlags: TraceFlags.SAMPLED });
  const startMs = facts.start.getTime();
  // Two machines' clocks may have been read.
  const endMs = Math.max(startMs, facts.end.getTime());
  return {
    ...origin,
    name: facts.name,
    kind: facts.kind ?? SpanKind.INTERNAL,
    spanContext: () => context(facts.id),
    ...(facts.parentId !== null && { parentSpanContext: context(facts.parentId) }),
    startTime: hrTime(startMs),
    endTime: hrTime(endMs),
    duration: hrTime(endMs - startMs),
    ended: true,
    status:
      facts.failed === null
        ? { code: SpanStatusCode.UNSET }
        : { code: SpanStatusCode.ERROR, message: facts.failed },
    attributes: facts.attributes,
    events: (facts.events ?? []).flatMap(({ name, at }) =>
      at === null ? [] : [{ name, time: hrTime(at.getTime()), attributes: {}, droppedAttributesCount: 0 }],
    ),
    links: [],
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}

/** @returns seconds and nanoseconds. */
const hrTime = (ms: number): HrTime => [Math.floor(ms / 1000), (ms % 1000) * 1_000_000];
