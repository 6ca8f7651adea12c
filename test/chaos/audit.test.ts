import { describe, expect, test } from 'vitest';
import { audit, type Violation } from './audit.ts';
import type { Call } from './far-service.ts';
import type { AttemptFact, Facts, RunFact } from './facts.ts';
import type { Submission } from './journal.ts';

/** Microseconds since the epoch, so many seconds after some moment. */
const at = (seconds: number): number => (1_795_000_000 + seconds) * 1_000_000;
const date = (seconds: number): Date => new Date(at(seconds) / 1000);

const submission = (more: Partial<Submission> = {}): Submission => ({
  marker: 'm-1',
  tenantId: 'ash',
  workflow: 'once',
  input: { marker: 'm-1', ms: 1 },
  idempotencyKey: 'key-m-1',
  by: 'client',
  isAcknowledged: true,
  toldRunIds: new Set(['r1']),
  isCancelRequested: false,
  ...more,
});
const run = (more: Partial<RunFact> = {}): RunFact => ({
  ...{ id: 'r1', tenant: 'ash', marker: 'm-1', status: 'SUCCESS', reason: null, message: null, attempt: 1 },
  ...more,
});
const attempt = (more: Partial<AttemptFact> = {}): AttemptFact => ({
  ...{ runId: 'r1', tenant: 'ash', number: 1, createdAt: at(0), claimedAt: at(1), endedAt: at(10) },
  ...{ reason: null, message: null },
  ...more,
});
const call = (step: string, more: Partial<Call> = {}): Call => ({
  ...{ runId: 'r1', step, execution: 'e1', at: date(2) },
  ...more,
});

/** One run that went well, but for what is given. */
const facts = (more: Partial<Facts> = {}): Facts => ({
  caps: { global: 2, tenants: new Map([['ash', 1]]) },
  submissions: [submission()],
  runs: [run()],
  attempts: [attempt()],
  calls: [call('begin'), call('work')],
  ...{ frozen: [], jobs: [], deadLetters: [], leftovers: [] },
  ...more,
});

const second = attempt({ number: 2, createdAt: at(11), claimedAt: at(12), endedAt: at(20) });
const failed = run({ status: 'FAILED', reason: 'RUNNER_CRASHED', message: 'killed' });

const exhausted = attempt({ ...second, claimedAt: null, reason: 'RETRIES_EXHAUSTED' });
const givenUp = (last: string): RunFact =>
  run({
    ...{ status: 'FAILED', reason: 'RETRIES_EXHAUSTED', attempt: 2 },
    message: `all 2 attempts failed; the last with ${last}: why`,
  });

describe('the audit', () => {
  test.each<[string, Partial<Facts>]>([
    ['a run that succeeded', {}],
    ['a run that was killed after its claim', { runs: [failed], calls: [] }],
    [
      'a first step that was tried again, with another answer',
      { calls: [call('begin', { execution: 'e0' }), call('begin'), call('work'), call('work')] },
    ],
    [
      'an attempt that was lost before its claim, and one that followed',
      {
        runs: [run({ attempt: 2 })],
        attempts: [attempt({ claimedAt: null }), second],
        calls: [call('begin', { at: date(13) }), call('work', { at: date(14) })],
      },
    ],
    [
      'two executions of a workflow that allows it',
      {
        submissions: [submission({ workflow: 'repeatable' })],
        runs: [run({ attempt: 2 })],
        attempts: [attempt(), second],
        calls: [
          ...[call('begin'), call('work'), call('begin', { at: date(13) })],
          call('work', { at: date(14), execution: 'e2' }),
        ],
      },
    ],
    [
      'a call that a leader held while it was stopped',
      {
        calls: [call('begin'), call('work'), call('work', { at: date(16) })],
        frozen: [{ from: date(3), to: date(15) }],
      },
    ],
    [
      'a run that was killed before each claim',
      {
        runs: [givenUp('RUNNER_LOST')],
        attempts: [attempt({ claimedAt: null, reason: 'RUNNER_CRASHED' }), exhausted],
        calls: [],
      },
    ],
    ['a letter for a run that was given up', { runs: [failed], deadLetters: ['r1'], calls: [] }],
  ])('finds nothing wrong with %s', (_, more) => {
    expect(audit(facts(more))).toEqual([]);
  });

  test.each<[string, Violation['kind'], Partial<Facts>]>([
    ['a submission that is not recorded', 'LOST', { runs: [], attempts: [], calls: [] }],
    ['a run that never ended', 'LOST', { runs: [run({ status: 'RUNNING' })] }],
    [
      'a submission that became two runs',
      'RECORDED_TWICE',
      { runs: [run(), run({ id: 'r2', status: 'FAILED', reason: 'RUNNER_LOST', attempt: 0 })] },
    ],
    [
      'a client that was told another run',
      'RECORDED_TWICE',
      { submissions: [submission({ toldRunIds: new Set(['r1', 'r9']) })] },
    ],
    [
      'a run that nobody asked for',
      'RECORDED_TWICE',
      { runs: [run(), run({ id: 'r2', marker: null, status: 'CANCELED', reason: 'CANCELED', attempt: 0 })] },
    ],
    [
      'two attempts that claimed',
      'EXECUTED_TWICE',
      { runs: [run({ attempt: 2 })], attempts: [attempt(), second] },
    ],
    [
      'two processes that executed one attempt',
      'EXECUTED_TWICE',
      { calls: [call('begin'), call('work'), call('work', { execution: 'e2' })] },
    ],
    ['a call before the claim', 'EXECUTED_WITHOUT_RIGHT', { attempts: [attempt({ claimedAt: at(6) })] }],
    ['a call after the end', 'EXECUTED_WITHOUT_RIGHT', { attempts: [attempt({ endedAt: at(-1) })] }],
    [
      'a call for a run that was never claimed',
      'EXECUTED_WITHOUT_RIGHT',
      { runs: [failed], attempts: [attempt({ claimedAt: null })] },
    ],
    [
      'a call for a run that is not recorded',
      'EXECUTED_WITHOUT_RIGHT',
      { calls: [call('begin'), call('work'), call('work', { runId: 'r9' })] },
    ],
    ['a success without its last step', 'NOT_EXECUTED', { calls: [call('begin')] }],
    [
      'a cancellation that nobody asked for',
      'WRONG_END',
      { runs: [run({ status: 'CANCELED', reason: 'CANCELED' })] },
    ],
    [
      'a failure of the workflow, which cannot fail',
      'WRONG_END',
      { runs: [run({ status: 'FAILED', reason: 'STEP_FAILED' })] },
    ],
    [
      'a run that was given up before its claim',
      'WRONG_END',
      { runs: [failed], attempts: [attempt({ claimedAt: null })], calls: [] },
    ],
    [
      'a run that was given up because the engine was away',
      'WRONG_END',
      {
        runs: [givenUp('RUNNER_CRASHED')],
        attempts: [attempt({ claimedAt: null, reason: 'NODE_LOST' }), exhausted],
        calls: [],
      },
    ],
    [
      'a run that took too long',
      'WRONG_END',
      { runs: [run({ status: 'TIMEOUT', reason: 'DEADLINE_EXCEEDED' })] },
    ],
    ['an attempt without an end', 'WRONG_END', { attempts: [attempt({ endedAt: null })] }],
    [
      'two attempts of a tenant at a time',
      'CAP_EXCEEDED',
      {
        submissions: [submission(), submission({ marker: 'm-2', toldRunIds: new Set(['r2']) })],
        runs: [run(), run({ ...failed, id: 'r2', marker: 'm-2' })],
        attempts: [attempt(), attempt({ runId: 'r2', createdAt: at(9), claimedAt: at(10), endedAt: at(12) })],
      },
    ],
    ['something that is left', 'LEFT_OVER', { leftovers: ['container wh-1'] }],
    ['a job that is left', 'QUEUE_NOT_EMPTY', { jobs: ['key-m-1'] }],
    ['a letter for a run that succeeded', 'DEAD_LETTER', { deadLetters: ['r1'] }],
  ])('finds %s', (_, kind, more) => {
    expect([...new Set(audit(facts(more)).map((one) => one.kind))]).toContain(kind);
  });

  test('says which run, and what one sees of it', () => {
    const [found] = audit(facts({ runs: [run({ status: 'RUNNING' })] }));
    expect(found).toMatchObject({ runId: 'r1', evidence: expect.stringContaining('m-1 RUNNING') as string });
  });

  test('takes a slot that was given on in the same moment for one slot', () => {
    const next = attempt({ runId: 'r2', createdAt: at(10), claimedAt: at(11), endedAt: at(12) });
    const all = facts({
      submissions: [submission(), submission({ marker: 'm-2', toldRunIds: new Set(['r2']) })],
      runs: [run(), run({ ...failed, id: 'r2', marker: 'm-2' })],
      attempts: [next, attempt()],
    });
    expect(audit(all)).toEqual([]);
  });
});
