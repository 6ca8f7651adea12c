import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hashToken } from '../../controller/gateway/tokens.ts';
import { newRunId, newWorkflowVersionId, tenantIdSchema, type RunId } from '../../controller/model/ids.ts';
import { PRIORITIES, tenantSchema } from '../../controller/model/tenant.ts';
import { STOP_CAUSES, type RunResult, type Verdict } from '../../controller/model/verdict.ts';
import { recordResult } from '../../controller/store/attempts.ts';
import { postgresDispatchStore } from '../../controller/store/dispatch-store.ts';
import { claimRun, requestCancel } from '../../controller/store/run-transitions.ts';
import { insertRun } from '../../controller/store/runs.ts';
import { setPaused, setPlatformLimits, upsertTenant } from '../../controller/store/tenants.ts';
import { ModelStore } from '../simulation/model-store.ts';
import { cloneDatabase } from '../support/database.ts';

const CASES = 40;
const OPERATIONS = { minLength: 20, maxLength: 80 };

/** What is past by now, and what is not for the whole test: the two clocks need not agree on anything else. */
const PAST_MS = 0;
const LATER_MS = 3_600_000;
const moment = fc.constantFrom(PAST_MS, LATER_MS, LATER_MS);

const TENANTS = ['tenant-a', 'tenant-b', 'tenant-c'].map((id) => tenantIdSchema.parse(id));
const tenant = fc.constantFrom(...TENANTS);
const rate = fc.option(
  fc.record({ max: fc.integer({ min: 1, max: 3 }), durationMs: fc.constant(LATER_MS) }),
  {
    nil: undefined,
  },
);
const cap = fc.integer({ min: 1, max: 4 });
/** One of the runs so far, and its attempt: the current one, the one before, the next one. */
const attempt = fc.record({ nth: fc.nat(30), off: fc.constantFrom(0, 0, 0, 0, -1, 1) });
const token = fc.constantFrom('right', 'right', 'right', 'wrong', 'pod', 'foreign');

const VERDICTS: readonly Verdict[] = [
  { status: 'SUCCESS', reason: null, message: null, infrastructure: false },
  { status: 'FAILED', reason: 'STEP_FAILED', message: 'm', infrastructure: false },
  { status: 'TIMEOUT', reason: 'DEADLINE_EXCEEDED', message: 'm', infrastructure: false },
  { status: 'CANCELED', reason: 'CANCELED', message: 'm', infrastructure: false },
];
const RESULTS: readonly RunResult[] = [{ status: 'SUCCESS' }, { status: 'FAILED', reason: 'STEP_FAILED' }];

const operation = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('submit'), tenant, timeoutMs: moment, again: fc.boolean() }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('admit'),
      wanted: fc.uniqueArray(fc.record({ tenantId: tenant, runs: fc.integer({ min: 1, max: 4 }) }), {
        selector: ({ tenantId }) => tenantId,
        maxLength: 3,
      }),
      proof: fc.constantFrom('token', 'pod'),
    }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('claim'), attempt, token }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('result'), attempt, result: fc.constantFrom(...RESULTS) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cancel'), attempt }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('finish'), attempt, verdict: fc.constantFrom(...VERDICTS) }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('requeue'), attempt, delayMs: moment }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('stop'), attempt, cause: fc.constantFrom(...STOP_CAUSES) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('postpone'), attempt }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('container'), attempt }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('find'), attempt }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('live') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('starts') }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('demand'),
      of: fc.option(fc.uniqueArray(tenant), { nil: undefined }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('tenant'),
      ...{ tenant, maxConcurrent: cap, weight: fc.integer({ min: 1, max: 5 }), startRate: rate },
      ...{ priority: fc.constantFrom(...PRIORITIES), paused: fc.boolean() },
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('platform'), maxConcurrent: cap, startRate: rate }) },
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;
/** What is done to one run. */
type RunOperation = Extract<Operation, { readonly attempt: unknown }>;

const database = await cloneDatabase();

/** The record in PostgreSQL and the model of it, to which the same is done. */
class Both {
  readonly #pool = database.pool;
  readonly #store = postgresDispatchStore(this.#pool);
  readonly #model = new ModelStore(() => performance.now(), {
    changed: () => undefined,
    result: () => undefined,
    limits: () => undefined,
  });
  readonly #runs: RunId[] = [];

  async clear(): Promise<void> {
    await this.#pool.query('TRUNCATE workflow_runs, tenants CASCADE');
    for (const tenantId of TENANTS) await this.#declare(tenantId, { maxConcurrent: 3, weight: 1 }, false);
    await this.#limit({ maxConcurrent: 4, startRate: undefined });
  }

  /** @returns what both answer. */
  async do(operation: Operation): Promise<readonly [actual: unknown, modelled: unknown]> {
    const [store, model] = [this.#store, this.#model];
    switch (operation.do) {
      case 'submit':
        await this.#submit(operation);
        return [undefined, undefined];
      case 'admit': {
        const hashes = Array.from({ length: 12 }, (_, nth) => hashToken(`${this.#runs.length} ${nth}`));
        const options = { backend: 'docker', claimTokenHashes: operation.proof === 'token' ? hashes : null };
        return [await store.admitRuns(operation.wanted, options), model.admitRuns(operation.wanted, options)];
      }
      case 'tenant': {
        const { tenant: tenantId, paused, maxConcurrent, weight, priority, startRate } = operation;
        await this.#declare(tenantId, { maxConcurrent, weight, priority, startRate }, paused);
        return [undefined, undefined];
      }
      case 'platform': {
        const { maxConcurrent, startRate } = operation;
        await this.#limit({ maxConcurrent, startRate });
        return [undefined, undefined];
      }
      case 'demand':
        return [await store.readDemand(operation.of), model.readDemand(operation.of)];
      case 'live':
        return [await store.liveAttempts(), model.liveAttempts()];
      case 'starts': {
        const counted = (starts: readonly { readonly tenantId: string }[]): string[] =>
          starts.map(({ tenantId }) => tenantId).sort();
        return [counted(await store.recentStarts()), counted(model.recentStarts())];
      }
      default:
        return await this.#doToRun(operation);
    }
  }

  async #doToRun(operation: RunOperation): Promise<readonly [actual: unknown, modelled: unknown]> {
    const [store, model, pool] = [this.#store, this.#model, this.#pool];
    if (this.#runs.length === 0) return [undefined, undefined];
    const runId = this.#runs[operation.attempt.nth % this.#runs.length]!;
    const run = model.runs.get(runId)!;
    const ref = { runId, attempt: run.attempt + operation.attempt.off, tenantId: run.tenantId };
    switch (operation.do) {
      case 'claim': {
        const right = run.attempts[ref.attempt - 1]?.claimTokenHash ?? hashToken('none');
        const tenantId =
          operation.token === 'foreign' ? TENANTS.find((id) => id !== run.tenantId)! : run.tenantId;
        const proof =
          operation.token === 'right' || operation.token === 'wrong'
            ? ({ kind: 'token', hash: operation.token === 'right' ? right : hashToken('wrong') } as const)
            : ({ kind: 'pod', uid: 'uid', tenantId } as const);
        const reportTokenHash = hashToken('report');
        return [await claimRun(pool, ref, { proof, reportTokenHash }), model.claimRun(ref, proof)];
      }
      case 'result':
        return [await recordResult(pool, ref, operation.result), model.recordResult(ref, operation.result)];
      case 'cancel':
        return [await requestCancel(pool, runId), model.requestCancel(runId)];
      case 'finish':
        return [await store.finishRun(ref, operation.verdict, null), model.finishRun(ref, operation.verdict)];
      case 'requeue': {
        const lost: Verdict = { status: 'FAILED', reason: 'RUNNER_LOST', message: 'm', infrastructure: true };
        const { delayMs } = operation;
        return [await store.requeueRun(ref, lost, null, delayMs), model.requeueRun(ref, lost, delayMs)];
      }
      case 'stop':
        return [
          await store.recordStopCause(ref, operation.cause),
          model.recordStopCause(ref, operation.cause),
        ];
      case 'postpone':
        return [await store.postponeStart(ref), model.postponeStart(ref)];
      case 'container': {
        const container = { ...ref, containerId: 'c', state: 'running' } as const;
        await store.recordContainer(container);
        model.recordContainer(container);
        return [undefined, undefined];
      }
      case 'find':
        return [await store.findLive(runId), model.findLive(runId)];
    }
  }

  async #submit({ tenant: tenantId, timeoutMs, again }: Extract<Operation, { do: 'submit' }>): Promise<void> {
    const run = {
      ...{ id: newRunId(), tenantId, workflowVersionId: newWorkflowVersionId(), timeoutMs },
      ...{ limits: { cpus: 1, memoryMb: 64, pids: 8, tmpMb: 1 }, retryAfterClaim: again },
    };
    const rest = {
      input: {},
      idempotencyKey: null,
      requestDigest: Buffer.of(1),
      rerunOf: null,
      traceparent: null,
    };
    await insertRun(this.#pool, { ...run, ...rest });
    this.#model.insertRun(run);
    this.#runs.push(run.id);
  }

  async #declare(
    tenantId: (typeof TENANTS)[number],
    settings: Partial<
      Pick<Extract<Operation, { do: 'tenant' }>, 'weight' | 'maxConcurrent' | 'startRate' | 'priority'>
    >,
    paused: boolean,
  ): Promise<void> {
    const { startRate, ...others } = settings;
    const { maxConcurrent, weight, priority, ...declared } = tenantSchema.parse({
      ...{ id: tenantId, ...others, ...(startRate && { startRate }) },
    });
    await upsertTenant(this.#pool, { maxConcurrent, weight, priority, ...declared });
    await setPaused(this.#pool, tenantId, paused);
    this.#model.upsertTenant({ tenantId, maxConcurrent, weight, priority, startRate, paused });
  }

  async #limit(limits: Parameters<typeof setPlatformLimits>[1]): Promise<void> {
    await setPlatformLimits(this.#pool, limits);
    this.#model.setPlatformLimits(limits);
  }

  /** @returns all rows, as both have them. */
  async rows(): Promise<readonly [actual: unknown, modelled: unknown]> {
    const { rows } = await this.#pool.query<{ run: unknown }>(
      `SELECT json_build_object('id', r.id, 'status', r.status, 'reason', r.reason, 'attempt', r.attempt,
         'canceled', r.cancel_requested_at IS NOT NULL, 'postponed', r.due_at IS NOT NULL,
         'attempts', (SELECT coalesce(json_agg(json_build_array(a.number, a.claimed_at IS NOT NULL, a.stop_cause, a.result,
            a.ended_at IS NOT NULL, a.reason, a.container_id) ORDER BY a.number), '[]') FROM run_attempts a
            WHERE a.run_id = r.id)) AS run
       FROM workflow_runs r ORDER BY r.id`,
    );
    const modelled = [...this.#model.runs.values()].map((run) => ({
      ...{ id: run.id, status: run.status, reason: run.reason, attempt: run.attempt },
      ...{ canceled: run.cancelRequested, postponed: run.dueAtMs !== null },
      attempts: run.attempts.map((a) => [
        ...[a.number, a.claimed, a.stopCause, a.result, a.ended, a.reason, a.containerId],
      ]),
    }));
    return [rows.map(({ run }) => run), modelled];
  }
}

/** Spans of time are compared by whether they are over; lists of tenants and of attempts have no order. */
function comparable(answer: unknown): unknown {
  return JSON.parse(
    JSON.stringify(answer ?? null, (key, value: unknown) => {
      if (key === 'admittedMsAgo') return 'some time';
      if (key.endsWith('InMs') && typeof value === 'number') return value > LATER_MS / 2 ? 'later' : 'past';
      if (key === 'tenants' || (key === '' && isLiveList(value))) return sorted(value as object[]);
      return value;
    }),
  );
}

const isLiveList = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.every((one: unknown) => typeof one === 'object' && one !== null && 'claimed' in one);
const sorted = (list: readonly object[]): object[] => {
  const name = (one: object): string =>
    String(('runId' in one && one.runId) || ('tenantId' in one && one.tenantId));
  return [...list].sort((one, other) => (name(one) < name(other) ? -1 : 1));
};

test(
  'the model that simulations run on answers as PostgreSQL does, and keeps the same',
  { timeout: 120_000 },
  async () => {
    const everDone = new Map<string, Set<string>>();
    await fc.assert(
      fc.asyncProperty(fc.array(operation, OPERATIONS), async (operations) => {
        const both = new Both();
        await both.clear();
        for (const each of operations) {
          const [actual, modelled] = await both.do(each);
          expect(comparable(modelled), each.do).toEqual(comparable(actual));
          const answers = everDone.get(each.do) ?? new Set();
          everDone.set(each.do, answers.add(JSON.stringify(comparable(actual))));
        }
        const [rows, modelled] = await both.rows();
        expect(modelled).toEqual(rows);
      }),
      { numRuns: CASES },
    );
    // Each of these was done with success and in vain.
    for (const what of ['claim', 'result', 'finish', 'requeue']) {
      expect([...(everDone.get(what) ?? [])], what).toEqual(expect.arrayContaining(['true', 'false']));
    }
  },
);
