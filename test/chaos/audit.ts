import type { Reason } from '../../controller/model/reasons.ts';
import { isTerminal } from '../../controller/model/run-status.ts';
import type { Call } from './far-service.ts';
import type { AttemptFact, Facts, RunFact } from './facts.ts';
import type { Submission } from './journal.ts';
import { mayRepeat, STEPS } from './workflows.ts';

/** A promise that was broken, and how one sees it. */
export interface Violation {
  readonly kind:
    /** Asked for, acknowledged, and not in the record; or in it without an end. */
    | 'LOST'
    /** One submission became several runs, or a run nobody asked for. */
    | 'RECORDED_TWICE'
    | 'EXECUTED_TWICE'
    /** The far side was called for an attempt that had not claimed, or by one that had ended. */
    | 'EXECUTED_WITHOUT_RIGHT'
    /** SUCCESS, and yet a step never reached the far side. */
    | 'NOT_EXECUTED'
    | 'WRONG_END'
    | 'CAP_EXCEEDED'
    | 'ORPHAN_STAYED'
    | 'LEFT_OVER'
    | 'QUEUE_NOT_EMPTY'
    | 'DEAD_LETTER';
  readonly runId: string | null;
  readonly evidence: string;
}

/** How an attempt ends whose container is killed. */
const KILLED: ReadonlySet<string | null> = new Set<Reason>(['RUNNER_CRASHED', 'RUNNER_LOST']);
/** And one whose gateway is, again and again. */
const UNCLAIMED: ReadonlySet<string | null> = new Set<Reason>(['CLAIM_TIMEOUT']);
/** Between the far side's clock reading and PostgreSQL's, on a machine under load. */
const TOLERANCE_MICROS = 2_000_000;

/** Compares what was asked for with what was recorded, what was executed and what is left. Pure. */
export function audit(facts: Facts): Violation[] {
  const runsOf = Map.groupBy(facts.runs, ({ marker }) => marker ?? '');
  const attemptsOf = Map.groupBy(facts.attempts, ({ runId }) => runId);
  const callsOf = Map.groupBy(facts.calls, ({ runId }) => runId);
  const known = new Set(facts.runs.map(({ id }) => id));
  const asked = new Set(facts.submissions.map(({ marker }) => marker));
  return [
    ...facts.submissions.flatMap((submission) => {
      const runs = runsOf.get(submission.marker) ?? [];
      return [
        ...recordedOnce(submission, runs),
        ...runs.flatMap((run) => {
          const story = { run, attempts: attemptsOf.get(run.id) ?? [], calls: callsOf.get(run.id) ?? [] };
          return [...endedOnce(submission, story), ...executedOnce(submission, story, facts)];
        }),
      ];
    }),
    ...facts.runs
      .filter(({ marker }) => marker === null || !asked.has(marker))
      .map((run) => violation('RECORDED_TWICE', run.id, 'nobody asked for this run')),
    ...[...callsOf.keys()]
      .filter((runId) => !known.has(runId))
      .map((runId) =>
        violation('EXECUTED_WITHOUT_RIGHT', runId, 'called for a run that is not in the record'),
      ),
    ...capsHeld(facts),
    ...facts.leftovers.map((what) => violation('LEFT_OVER', null, what)),
    ...facts.jobs.map((id) => violation('QUEUE_NOT_EMPTY', null, `job ${id} is still in workflow_runs`)),
    ...facts.deadLetters.flatMap((runId) => deadLetterIsDue(runId, facts.runs)),
  ];
}

interface Story {
  readonly run: RunFact;
  readonly attempts: readonly AttemptFact[];
  readonly calls: readonly Call[];
}

const violation = (kind: Violation['kind'], runId: string | null, evidence: string): Violation => ({
  ...{ kind, runId, evidence },
});

function recordedOnce(submission: Submission, runs: readonly RunFact[]): Violation[] {
  const { marker, by, isAcknowledged, toldRunIds } = submission;
  const [first] = runs;
  if (first === undefined) {
    const what = isAcknowledged ? 'was acknowledged' : 'could never be sent';
    return [violation('LOST', null, `${marker} by ${by} ${what}, and is not in the record`)];
  }
  const ids = new Set([...runs.map(({ id }) => id), ...toldRunIds]);
  if (ids.size === 1) return [];
  return [violation('RECORDED_TWICE', first.id, `${marker} by ${by} became ${[...ids].join(', ')}`)];
}

function endedOnce(submission: Submission, { run, attempts }: Story): Violation[] {
  const found: string[] = [];
  if (!isTerminal(run.status)) {
    return [violation('LOST', run.id, `it never ended: ${describe(run, attempts)}`)];
  }
  if (attempts.some(({ endedAt }) => endedAt === null)) found.push('an attempt of an ended run never ended');
  if (attempts.length !== run.attempt)
    found.push(`${attempts.length} attempts recorded, ${run.attempt} counted`);
  switch (run.status) {
    case 'SUCCESS':
      if (run.reason !== null) found.push('SUCCESS has a reason');
      break;
    case 'CANCELED':
      if (!submission.isCancelRequested || run.reason !== 'CANCELED') found.push('nobody canceled it');
      break;
    case 'FAILED':
      if (!wasKilled(run, attempts)) found.push('no fault of this suite ends a run so');
      break;
    case 'TIMEOUT':
      found.push('nothing takes that long');
      break;
  }
  return found.map((what) => violation('WRONG_END', run.id, `${what}: ${describe(run, attempts)}`));
}

/** Killed after its claim, or each time: whatever else happens to an attempt before its claim is followed by another one. */
function wasKilled({ reason, message }: RunFact, attempts: readonly AttemptFact[]): boolean {
  if (reason !== 'RETRIES_EXHAUSTED')
    return KILLED.has(reason) && typeof attempts.at(-1)?.claimedAt === 'number';
  // Of the last attempt the record has that it was the last, and in words how it ended.
  const [, last = ''] = /the last with (\w+)/.exec(message ?? '') ?? [];
  const each = [...attempts.slice(0, -1).map((attempt) => attempt.reason), last];
  return each.every((one) => KILLED.has(one) || UNCLAIMED.has(one));
}

function executedOnce(submission: Submission, { run, attempts, calls }: Story, facts: Facts): Violation[] {
  const found: Violation[] = [];
  const tell = (kind: Violation['kind'], what: string): void => {
    found.push(violation(kind, run.id, `${what}: ${describe(run, attempts)}; calls ${list(calls)}`));
  };
  const claimed = attempts.filter(({ claimedAt }) => claimedAt !== null);
  // The first step may be tried again; what it was answered last is carried by all that follow.
  const executions = new Set(calls.filter(({ step }) => step !== 'begin').map(({ execution }) => execution));
  const repeats = mayRepeat(submission.workflow);
  if (claimed.length > 1 && !repeats) tell('EXECUTED_TWICE', `${claimed.length} attempts claimed it`);
  if (executions.size > Math.max(1, repeats ? claimed.length : 1)) {
    tell('EXECUTED_TWICE', `${executions.size} processes executed it`);
  }
  if (calls.some((call) => !hadRight(call, claimed, facts))) {
    tell('EXECUTED_WITHOUT_RIGHT', 'a call came before the claim or after the end');
  }
  const missing = STEPS[submission.workflow].filter((key) => !calls.some(({ step }) => step === key));
  if (run.status === 'SUCCESS' && missing.length > 0) {
    tell('NOT_EXECUTED', `SUCCESS without ${missing.join(', ')}`);
  }
  return found;
}

/** What a leader had in hand when it was stopped reaches the far side when it goes on, whenever the attempt ended. */
function hadRight({ at }: Call, claimed: readonly AttemptFact[], { frozen }: Facts): boolean {
  const micros = at.getTime() * 1000;
  const inTime = claimed.some(
    ({ claimedAt, endedAt }) =>
      micros >= (claimedAt ?? 0) - TOLERANCE_MICROS && micros <= (endedAt ?? Infinity) + TOLERANCE_MICROS,
  );
  const wasHeld = frozen.some(
    ({ from, to }) => micros >= from.getTime() * 1000 && micros <= to.getTime() * 1000 + TOLERANCE_MICROS,
  );
  return inTime || (claimed.length > 0 && wasHeld);
}

/** A slot is held from an attempt's creation to its end, both by PostgreSQL's clock: so this is every moment, not a sample. */
function capsHeld({ attempts, caps }: Facts): Violation[] {
  return [
    ...over('the platform', attempts, caps.global),
    ...[...caps.tenants].flatMap(([tenant, cap]) =>
      over(
        `tenant ${tenant}`,
        attempts.filter((attempt) => attempt.tenant === tenant),
        cap,
      ),
    ),
  ];
}

function over(whose: string, attempts: readonly AttemptFact[], cap: number): Violation[] {
  const changes = attempts
    .flatMap((attempt) => [
      { at: attempt.createdAt, attempt, by: 1 },
      { at: attempt.endedAt ?? Infinity, attempt, by: -1 },
    ])
    .sort((a, b) => a.at - b.at || a.by - b.by);
  let held = 0;
  for (const { attempt, by } of changes) {
    held += by;
    if (held <= cap) continue;
    const evidence = `${whose} held ${held} slots, cap ${cap}, when attempt ${attempt.number} was created`;
    return [violation('CAP_EXCEEDED', attempt.runId, evidence)];
  }
  return [];
}

/** This load sends nothing that is wrong: only a run that was given up may be there. */
function deadLetterIsDue(runId: string | null, runs: readonly RunFact[]): Violation[] {
  if (runs.some(({ id, status }) => id === runId && status === 'FAILED')) return [];
  return [violation('DEAD_LETTER', runId, 'dlq has a letter for a run that was not given up')];
}

function describe(run: RunFact, attempts: readonly AttemptFact[]): string {
  const each = attempts.map(
    ({ number, createdAt, claimedAt, endedAt, reason }) =>
      `attempt ${number} ${clock(createdAt)}, claimed ${clock(claimedAt)}, ended ${clock(endedAt)} ${reason ?? ''}`,
  );
  return `${run.tenant} ${run.marker ?? ''} ${run.status} ${run.reason ?? ''} "${run.message ?? ''}"; ${each.join('; ')}`;
}

const clock = (micros: number | null): string =>
  micros === null ? 'never' : new Date(micros / 1000).toISOString().slice(11, 23);
const list = (calls: readonly Call[]): string =>
  calls
    .map(({ step, execution, at }) => `${step}/${execution.slice(0, 8)} ${at.toISOString().slice(11, 23)}`)
    .join(', ');
