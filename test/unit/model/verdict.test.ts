import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Exit, ExitReason } from '../../../controller/model/exit.ts';
import { REASONS } from '../../../controller/model/reasons.ts';
import { TERMINAL_STATUSES } from '../../../controller/model/run-status.ts';
import { decideSequel, judge, STOP_CAUSES, type AttemptFacts } from '../../../controller/model/verdict.ts';

const at = new Date('2026-01-01T00:00:00Z');
const exited = (exitCode: number, more: Partial<Exit> = {}): Exit => ({
  kind: 'exited',
  exitCode,
  oomKilled: false,
  at,
  ...more,
});
const facts = (more: Partial<AttemptFacts>): AttemptFacts => ({
  claimed: true,
  stopCause: null,
  cancelRequested: false,
  result: null,
  exit: exited(0),
  deadlineAfterExitMs: 60_000,
  ...more,
});

const CAUSES = [
  'DEADLINE_EXCEEDED',
  'IMAGE_PULL_FAILED',
  'UNSCHEDULABLE',
  'QUOTA_EXCEEDED',
  'ADMISSION_DENIED',
  'EVICTED',
  'NODE_LOST',
  'PREEMPTED',
] as const satisfies readonly ExitReason[];

const anyExit = fc.record(
  {
    kind: fc.constantFrom('exited' as const, 'lost' as const, 'unstarted' as const),
    exitCode: fc.option(fc.integer({ min: 0, max: 255 })),
    oomKilled: fc.boolean(),
    at: fc.date({ min: at, max: new Date('2026-01-01T02:00:00Z'), noInvalidDate: true }),
    cause: fc.record({ reason: fc.constantFrom(...CAUSES), message: fc.string() }),
  },
  { requiredKeys: ['kind', 'exitCode', 'oomKilled', 'at'] },
);
const anyFacts = fc.record({
  claimed: fc.boolean(),
  stopCause: fc.option(fc.constantFrom(...STOP_CAUSES)),
  cancelRequested: fc.boolean(),
  result: fc.option(
    fc.constantFrom(
      { status: 'SUCCESS' as const },
      { status: 'FAILED' as const, reason: 'STEP_FAILED' as const, message: 'no' },
      { status: 'TIMEOUT' as const, reason: 'DEADLINE_EXCEEDED' as const },
      { status: 'CANCELED' as const, reason: 'CANCELED' as const },
    ),
  ),
  exit: anyExit,
  deadlineAfterExitMs: fc.integer({ min: -60_000, max: 60_000 }),
});
const policy = { attempts: 3, initialDelayMs: 1000, maxDelayMs: 5000 };

describe('the verdict on an attempt', () => {
  test('is always terminal, with a reason from the closed list exactly when it is no success', () => {
    fc.assert(
      fc.property(anyFacts, (known) => {
        const verdict = judge(known);
        expect(TERMINAL_STATUSES).toContain(verdict.status);
        if (verdict.status === 'SUCCESS') expect(verdict.reason).toBeNull();
        else expect(REASONS).toContain(verdict.reason);
      }),
    );
  });

  test('is what the runner said, however its container ended', () => {
    fc.assert(
      fc.property(anyFacts, (known) => {
        fc.pre(known.result !== null);
        fc.pre(known.result.status !== 'CANCELED' || known.stopCause === 'CANCELED' || known.cancelRequested);
        expect(judge(known)).toMatchObject({ status: known.result.status, infrastructure: false });
      }),
    );
  });

  test('is the cluster’s cause when nobody but the cluster told the runner to stop', () => {
    const canceled = { status: 'CANCELED' as const, reason: 'CANCELED' as const };
    const cause = { reason: 'EVICTED' as const, message: 'the node needed its memory' };
    const evicted = { result: canceled, exit: exited(0, { cause }) };
    expect(judge(facts(evicted))).toMatchObject({
      status: 'FAILED',
      reason: 'EVICTED',
      infrastructure: true,
    });
    expect(judge(facts({ ...evicted, stopCause: 'CANCELED' }))).toMatchObject({ status: 'CANCELED' });
    expect(judge(facts({ ...evicted, cancelRequested: true }))).toMatchObject({ status: 'CANCELED' });
  });

  test('is CANCELED only if somebody asked for it', () => {
    const result = { status: 'CANCELED' as const, reason: 'CANCELED' as const };
    expect(judge(facts({ result }))).toMatchObject({
      status: 'FAILED',
      reason: 'RUNNER_LOST',
      infrastructure: true,
    });
    expect(judge(facts({ result, stopCause: 'DEADLINE_EXCEEDED' }))).toMatchObject({
      status: 'TIMEOUT',
      reason: 'DEADLINE_EXCEEDED',
    });
    expect(judge(facts({ result, exit: exited(3), deadlineAfterExitMs: 0 }))).toMatchObject({
      status: 'TIMEOUT',
    });
    fc.assert(
      fc.property(anyFacts, (known) => {
        fc.pre(known.stopCause !== 'CANCELED' && !known.cancelRequested);
        expect(judge(known).status).not.toBe('CANCELED');
      }),
    );
  });

  test('is SUCCESS only if the runner said so', () => {
    fc.assert(
      fc.property(anyFacts, (known) => {
        fc.pre(known.result?.status !== 'SUCCESS');
        expect(judge(known).status).not.toBe('SUCCESS');
      }),
    );
  });

  test.each([
    ['CANCELED', { stopCause: 'CANCELED' as const, exit: exited(137) }],
    ['DEADLINE_EXCEEDED', { stopCause: 'DEADLINE_EXCEEDED' as const, exit: exited(137) }],
    ['CLAIM_TIMEOUT', { stopCause: 'CLAIM_TIMEOUT' as const, claimed: false, exit: exited(137) }],
    ['OOM_KILLED', { exit: exited(137, { oomKilled: true }) }],
    ['RUNNER_CRASHED', { exit: exited(139) }],
    ['RUNNER_CRASHED', { exit: exited(0) }],
    ['RUNNER_LOST', { exit: exited(0, { kind: 'lost', exitCode: null }) }],
    ['DEADLINE_EXCEEDED', { exit: exited(137), deadlineAfterExitMs: -1 }],
    ['RUNNER_CRASHED', { exit: exited(137), deadlineAfterExitMs: 1 }],
  ])('tells %s apart', (reason, known) => {
    expect(judge(facts(known)).reason).toBe(reason);
  });

  test.each(CAUSES)('is %s where the backend was told so', (reason) => {
    const cause = { reason, message: 'as the cluster says' };
    const exit = exited(0, { kind: 'unstarted', exitCode: null, cause });
    expect(judge(facts({ claimed: false, exit }))).toMatchObject({
      status: reason === 'DEADLINE_EXCEEDED' ? 'TIMEOUT' : 'FAILED',
      reason,
      message: 'as the cluster says',
      infrastructure: reason !== 'DEADLINE_EXCEEDED' && reason !== 'ADMISSION_DENIED',
    });
  });
});

describe('what follows an attempt', () => {
  const sequelOf = (
    more: Partial<AttemptFacts>,
    run: { attempt?: number; retryAfterClaim?: boolean; cancelRequested?: boolean } = {},
  ) => {
    const known = facts({ exit: exited(1), ...more });
    return decideSequel(
      judge(known),
      { attempt: 1, retryAfterClaim: false, cancelRequested: false, claimed: known.claimed, ...run },
      policy,
      0.5,
    );
  };

  test('is another attempt when infrastructure failed before the claim', () => {
    expect(sequelOf({ claimed: false })).toEqual({ kind: 'retry', delayMs: 750 });
  });

  test('is never another attempt after the claim, unless the workflow version allows it', () => {
    expect(sequelOf({ claimed: true })).toMatchObject({ kind: 'end', verdict: { reason: 'RUNNER_CRASHED' } });
    expect(sequelOf({ claimed: true }, { retryAfterClaim: true })).toMatchObject({ kind: 'retry' });
  });

  test('is the end when the attempts are used up, with the last failure in the message', () => {
    const sequel = sequelOf({ claimed: false }, { attempt: 3 });
    expect(sequel).toMatchObject({ kind: 'end', verdict: { status: 'FAILED', reason: 'RETRIES_EXHAUSTED' } });
    expect(sequel.kind === 'end' && sequel.verdict.message).toContain('RUNNER_CRASHED');
  });

  test('is CANCELED, not another attempt, for a run that is to be canceled', () => {
    expect(sequelOf({ claimed: false }, { cancelRequested: true })).toMatchObject({
      kind: 'end',
      verdict: { status: 'CANCELED' },
    });
  });

  test('never waits longer than the policy says, and a workflow failure is never tried again', () => {
    fc.assert(
      fc.property(
        anyFacts,
        fc.nat(5),
        fc.boolean(),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (known, n, again, random) => {
          const verdict = judge(known);
          const run = {
            attempt: n + 1,
            claimed: known.claimed,
            retryAfterClaim: again,
            cancelRequested: false,
          };
          const sequel = decideSequel(verdict, run, policy, random);
          if (!verdict.infrastructure) expect(sequel.kind).toBe('end');
          if (sequel.kind === 'retry') {
            expect(sequel.delayMs).toBeLessThanOrEqual(policy.maxDelayMs);
            expect(run.attempt).toBeLessThan(policy.attempts);
          }
        },
      ),
    );
  });
});
