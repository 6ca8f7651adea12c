import { expect, test } from 'vitest';
import { newRunId } from '../../../controller/model/ids.ts';
import {
  attemptSpanId,
  phaseSpanId,
  runSpanId,
  stepSpanId,
  stepTraceparents,
  traceOf,
} from '../../../controller/telemetry/trace-context.ts';

const runId = newRunId();
const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = 'b7ad6b7169203331';

test('a run is part of the trace that it was submitted in', () => {
  const trace = { traceId: TRACE, parentSpanId: PARENT };
  expect(traceOf(runId, `00-${TRACE}-${PARENT}-01`)).toEqual({ ...trace, isSampled: true });
  expect(traceOf(runId, `00-${TRACE}-${PARENT}-00`)).toEqual({ ...trace, isSampled: false });
  expect(traceOf(runId, `00-${TRACE}-${PARENT}-03`)).toEqual({ ...trace, isSampled: true });
});

test.each([null, '', 'no trace', `00-${TRACE}-${PARENT}`])('%j leaves it one of its own', (traceparent) => {
  const own = { traceId: runId.replaceAll('-', ''), parentSpanId: null, isSampled: true };
  expect(traceOf(runId, traceparent)).toEqual(own);
});

test('all spans of a run have ids of their own, the same whoever asks', () => {
  const attempts = [1, 2].map((attempt) => ({ runId, attempt }));
  const ids = [
    runSpanId(runId),
    ...attempts.flatMap((ref) => [
      attemptSpanId(ref),
      phaseSpanId(ref, 'queue'),
      phaseSpanId(ref, 'start'),
      stepSpanId(ref, 'queue'),
      stepSpanId(ref, 'b'),
    ]),
  ];
  expect(new Set(ids).size).toBe(ids.length);
  for (const id of ids) expect(id).toMatch(/^(?!0{16})[0-9a-f]{16}$/);
  expect(stepSpanId({ runId, attempt: 2 }, 'b')).toBe(ids.at(-1));
});

test('each step passes on its own span, and whether the trace is recorded', () => {
  const ref = { runId, attempt: 3 };
  expect(stepTraceparents(ref, `00-${TRACE}-${PARENT}-00`, ['a', 'b'])).toEqual({
    a: `00-${TRACE}-${stepSpanId(ref, 'a')}-00`,
    b: `00-${TRACE}-${stepSpanId(ref, 'b')}-00`,
  });
  expect(stepTraceparents(ref, null, ['a'])).toEqual({
    a: `00-${runId.replaceAll('-', '')}-${stepSpanId(ref, 'a')}-01`,
  });
});
