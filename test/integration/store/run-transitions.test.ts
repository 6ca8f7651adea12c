import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { hashToken, newToken } from '../../../controller/gateway/tokens.ts';
import { attemptName, type AttemptRef, type RunId, type TenantId } from '../../../controller/model/ids.ts';
import { isTerminal } from '../../../controller/model/run-status.ts';
import type { Verdict } from '../../../controller/model/verdict.ts';
import {
  findByReportToken,
  findClaimable,
  recordReport,
  type BatchRecord,
  type StepReport,
} from '../../../controller/store/attempts.ts';
import type { ClaimProof } from '../../../controller/store/claim-proof.ts';
import { transaction } from '../../../controller/store/database.ts';
import {
  admitRuns,
  claimRun,
  finishRun,
  recordStopCause,
  requestCancel,
  requeueRun,
} from '../../../controller/store/run-transitions.ts';
import { findRun } from '../../../controller/store/runs.ts';
import { setPaused, setPlatformLimits } from '../../../controller/store/tenants.ts';
import { admit } from '../../support/admit.ts';
import { cloneDatabase } from '../../support/database.ts';
import { makeTenant, queueRun } from '../../support/runs.ts';

const { pool } = await cloneDatabase();
const claimTokenHash = hashToken('claim');
const reportTokenHash = hashToken('report');
const docker = (...claimTokenHashes: Buffer[]) => ({ backend: 'docker', claimTokenHashes });
const withToken = { proof: { kind: 'token', hash: claimTokenHash }, reportTokenHash } as const;
const success: Verdict = { status: 'SUCCESS', reason: null, message: null, infrastructure: false };
const crashed: Verdict = { status: 'FAILED', reason: 'RUNNER_CRASHED', message: 'x', infrastructure: true };
const canceled: Verdict = { status: 'CANCELED', reason: 'CANCELED', message: 'x', infrastructure: false };

/** A run of a tenant that has nothing else to start, in STARTING. */
async function admitted(tenant: string): Promise<AttemptRef> {
  const queued = await queueRun(pool, tenant);
  const { runId, attempt } = await admit(pool, tenant, claimTokenHash);
  expect(runId).toBe(queued);
  return { runId, attempt };
}
const running = (key: string, position: number): StepReport => ({
  key,
  position,
  status: 'RUNNING',
  startedAt: new Date(),
  finishedAt: null,
  tries: 0,
  output: null,
  error: null,
});
const batch = (sequence: number, ...steps: StepReport[]): BatchRecord => ({ sequence, steps, logBytes: 0 });
/** @returns how many connections of this database wait for a lock. */
async function blocked(): Promise<number | undefined> {
  const { rows } = await pool.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
  );
  return rows[0]?.n;
}
const requeueNow: typeof finishRun = (...end) => requeueRun(...end, 0);
const settled = (work: Promise<boolean>): Promise<unknown> => work.catch((error: unknown) => error);
const status = async (runId: RunId) => (await findRun(pool, runId))?.status;

describe('the claim', () => {
  beforeAll(() => setPlatformLimits(pool, { maxConcurrent: 10_000, startRate: undefined }));

  test('hands the payload out exactly once, however many ask at the same time', async () => {
    await makeTenant(pool, 'claims', { maxConcurrent: 50 });
    for (let round = 0; round < 10; round += 1) {
      const ref = await admitted('claims');
      const claims = await Promise.all(Array.from({ length: 20 }, () => claimRun(pool, ref, withToken)));
      expect(claims.filter(Boolean)).toHaveLength(1);
      expect(await claimRun(pool, ref, withToken)).toBe(false);
    }
  });

  test('is refused with a wrong token, for another attempt, after a stop cause, a cancellation, the deadline or the end', async () => {
    await makeTenant(pool, 'refusals', { maxConcurrent: 50 });
    const ref = await admitted('refusals');
    expect(
      await claimRun(pool, ref, { ...withToken, proof: { kind: 'token', hash: hashToken('other') } }),
    ).toBe(false);
    expect(await claimRun(pool, { ...ref, attempt: 2 }, withToken)).toBe(false);
    await requeueRun(pool, ref, crashed, null, 0);
    expect(await claimRun(pool, ref, withToken)).toBe(false);
    expect(await admit(pool, 'refusals', hashToken('next'))).toMatchObject({ ...ref, attempt: 2 });
    expect(await claimRun(pool, ref, withToken)).toBe(false);

    const stopped = await admitted('refusals');
    await recordStopCause(pool, stopped, 'CLAIM_TIMEOUT');
    expect(await claimRun(pool, stopped, withToken)).toBe(false);

    const toCancel = await admitted('refusals');
    await requestCancel(pool, toCancel.runId);
    expect(await claimRun(pool, toCancel, withToken)).toBe(false);

    const late = await admitted('refusals');
    await pool.query(`UPDATE workflow_runs SET deadline_at = now() - interval '1 second' WHERE id = $1`, [
      late.runId,
    ]);
    expect(await claimRun(pool, late, withToken)).toBe(false);
  });

  test('with a token and by a pod are never mistaken for each other, and a pod is one of the run’s tenant', async () => {
    const tenants = [
      await makeTenant(pool, 'pods', { maxConcurrent: 1000 }),
      await makeTenant(pool, 'strangers'),
    ];
    const byPod = (uid: string, tenant: number): ClaimProof => ({
      kind: 'pod',
      uid,
      tenantId: tenants[tenant]!,
    });
    const token = fc.constantFrom('claim', 'other', '');
    const proof: fc.Arbitrary<ClaimProof> = fc.oneof(
      token.map((text) => ({ kind: 'token' as const, hash: hashToken(text) })),
      fc
        .record({ uid: fc.constantFrom('pod-a', 'pod-b'), tenant: fc.constantFrom(0, 1) })
        .map(({ uid, tenant }) => byPod(uid, tenant)),
    );
    await fc.assert(
      fc.asyncProperty(fc.boolean(), fc.array(proof, { maxLength: 6 }), async (hasToken, proofs) => {
        const runId = await queueRun(pool, 'pods');
        await admit(pool, 'pods', hasToken ? claimTokenHash : null);
        const ref = { runId, attempt: 1 };
        const holds = (p: ClaimProof): boolean =>
          p.kind === 'token'
            ? hasToken && p.hash.equals(claimTokenHash)
            : !hasToken && p.tenantId === tenants[0];
        const first = proofs.findIndex(holds);
        for (const [index, p] of proofs.entries()) {
          const open = first === -1 || index <= first;
          expect((await findClaimable(pool, ref, p)) !== undefined).toBe(open && holds(p));
          expect(await claimRun(pool, ref, { proof: p, reportTokenHash })).toBe(index === first);
        }
        const winner = proofs[first];
        const pod = winner?.kind === 'pod' ? winner.uid : null;
        for (const uid of [null, 'pod-a', 'pod-b']) {
          const found = await findByReportToken(pool, ref, reportTokenHash, uid);
          expect(found !== undefined).toBe(winner !== undefined && uid === pod);
        }
        await finishRun(pool, ref, success, null);
      }),
      { numRuns: 60 },
    );
  });

  test('of a pod is one pod’s, however many ask at the same time', async () => {
    const tenantId = await makeTenant(pool, 'races', { maxConcurrent: 50 });
    const runId = await queueRun(pool, 'races');
    await admit(pool, 'races', null);
    const uids = Array.from({ length: 20 }, (_, i) => `pod-${i}`);
    const claims = await Promise.all(
      uids.map((uid) =>
        claimRun(pool, { runId, attempt: 1 }, { proof: { kind: 'pod', uid, tenantId }, reportTokenHash }),
      ),
    );
    expect(claims.filter(Boolean)).toHaveLength(1);
    const { rows } = await pool.query<{ claimed_by: string }>(
      'SELECT claimed_by FROM run_attempts WHERE run_id = $1',
      [runId],
    );
    expect(rows).toEqual([{ claimed_by: uids[claims.indexOf(true)] }]);
  });
});

describe('slots', () => {
  const held = async (): Promise<number> => {
    const { rows } = await pool.query<{ n: number }>(
      `SELECT count(*)::int AS n FROM workflow_runs WHERE status IN ('STARTING', 'RUNNING')`,
    );
    return rows[0]?.n ?? 0;
  };

  test('never exceed a tenant’s cap nor the global one, and no run gets two, however many batches are admitted while runs end', async () => {
    const caps = { wide: 6, middle: 3, narrow: 1 };
    const globalCap = (await held()) + 7;
    const tenantIds: TenantId[] = [];
    for (const [tenant, maxConcurrent] of Object.entries(caps)) {
      tenantIds.push(await makeTenant(pool, tenant, { maxConcurrent }));
      for (let n = 0; n < 25; n += 1) await queueRun(pool, tenant);
    }
    await setPlatformLimits(pool, { maxConcurrent: globalCap, startRate: undefined });
    const attempts: string[] = [];
    const most = { all: 0, wide: 0, middle: 0, narrow: 0 };
    const over = new AbortController();
    const sampling = (async () => {
      while (!over.signal.aborted) {
        const { rows } = await pool.query<{ tenant: keyof typeof caps; n: number }>(
          `SELECT tenant_id AS tenant, count(*)::int AS n FROM workflow_runs
           WHERE status IN ('STARTING', 'RUNNING') GROUP BY tenant_id`,
        );
        most.all = Math.max(
          most.all,
          rows.reduce((sum, { n }) => sum + n, 0),
        );
        for (const { tenant, n } of rows) if (tenant in caps) most[tenant] = Math.max(most[tenant], n);
      }
    })();
    /** One of several controllers: wants more than there is room for, of all tenants at once. */
    const compete = async (nth: number): Promise<void> => {
      const turn = tenantIds.map((_, at) => tenantIds[(at + nth) % tenantIds.length]!);
      while (attempts.length < 75) {
        const wanted = turn.map((tenantId, at) => ({ tenantId, runs: 1 + ((at + nth) % 5) }));
        const hashes = Array.from({ length: 15 }, () => claimTokenHash);
        const started = await admitRuns(pool, wanted, docker(...hashes));
        attempts.push(...started.map(attemptName));
        await Promise.all(started.map((ref) => finishRun(pool, ref, crashed, null)));
      }
    };
    try {
      // The pool holds ten connections.
      await Promise.all(Array.from({ length: 8 }, (_, nth) => compete(nth)));
    } finally {
      over.abort();
      await sampling;
      await setPlatformLimits(pool, { maxConcurrent: 10_000, startRate: undefined });
    }
    expect(attempts).toHaveLength(75);
    expect(new Set(attempts).size).toBe(75);
    expect(most.all).toBeLessThanOrEqual(globalCap);
    for (const [tenant, cap] of Object.entries(caps)) {
      expect({ tenant, isWithin: most[tenant as keyof typeof caps] <= cap }).toEqual({
        tenant,
        isWithin: true,
      });
    }
  });

  test('are all used when batches compete, and not one more', async () => {
    const caps = { left: 4, right: 3 };
    const tenantIds = await Promise.all(
      Object.entries(caps).map(([tenant, maxConcurrent]) => makeTenant(pool, tenant, { maxConcurrent })),
    );
    for (let n = 0; n < 8; n += 1) for (const tenant of tenantIds) await queueRun(pool, tenant);
    await setPlatformLimits(pool, { maxConcurrent: (await held()) + 6, startRate: undefined });
    try {
      const batches = await Promise.all(
        Array.from({ length: 8 }, (_, nth) => {
          const wanted = tenantIds.map((tenantId) => ({ tenantId, runs: 1 + (nth % 3) }));
          return admitRuns(pool, wanted, docker(...Array.from({ length: 6 }, () => claimTokenHash)));
        }),
      );
      const started = batches.flat();
      expect(new Set(started.map(attemptName)).size).toBe(6);
      expect(started).toHaveLength(6);
      for (const [tenant, cap] of Object.entries(caps)) {
        expect(started.filter(({ tenantId }) => tenantId === tenant).length).toBeLessThanOrEqual(cap);
      }
    } finally {
      await setPlatformLimits(pool, { maxConcurrent: 10_000, startRate: undefined });
    }
  });

  test('come back when a run ends or its attempt is made again', async () => {
    await makeTenant(pool, 'single', { maxConcurrent: 1 });
    const first = await admitted('single');
    const second = await queueRun(pool, 'single');
    const full = /no run/;
    await expect(admit(pool, 'single', claimTokenHash)).rejects.toThrow(full);
    await requeueRun(pool, first, crashed, null, 60_000);
    expect(await admit(pool, 'single', claimTokenHash)).toMatchObject({ runId: second, attempt: 1 });
    await pool.query('UPDATE workflow_runs SET due_at = now() WHERE id = $1', [first.runId]);
    await expect(admit(pool, 'single', claimTokenHash)).rejects.toThrow(full);
    await finishRun(pool, { runId: second, attempt: 1 }, crashed, null);
    expect(await admit(pool, 'single', claimTokenHash)).toMatchObject({ runId: first.runId, attempt: 2 });
  });

  test('go to the oldest runs, in the order in which their tenants are wanted, each with its own claim token', async () => {
    const [one, other] = [await makeTenant(pool, 'order-a'), await makeTenant(pool, 'order-b')];
    const runs: RunId[] = [];
    for (const tenant of [one, one, one, other, other]) runs.push(await queueRun(pool, tenant));
    const tokens = Array.from({ length: 5 }, newToken);
    const started = await admitRuns(
      pool,
      [
        { tenantId: other, runs: 2 },
        { tenantId: one, runs: 2 },
      ],
      docker(...tokens.map(hashToken)),
    );
    expect(started.map(({ runId }) => runId)).toEqual([runs[3], runs[4], runs[0], runs[1]]);
    for (const [nth, ref] of started.entries()) {
      for (const [at, token] of tokens.entries()) {
        const proof = { kind: 'token', hash: hashToken(token) } as const;
        expect((await findClaimable(pool, ref, proof)) !== undefined).toBe(at === nth);
      }
    }
  });

  test('go to no run that is postponed, to be canceled, or of a tenant that is paused', async () => {
    const tenantId = await makeTenant(pool, 'patient');
    const none = /no run/;
    const ref = await admitted('patient');
    await requeueRun(pool, ref, crashed, null, 60_000);
    await expect(admit(pool, 'patient', claimTokenHash)).rejects.toThrow(none);
    await pool.query('UPDATE workflow_runs SET due_at = now() WHERE id = $1', [ref.runId]);
    await setPaused(pool, tenantId, true);
    await expect(admit(pool, 'patient', claimTokenHash)).rejects.toThrow(none);
    await setPaused(pool, tenantId, false);
    expect(await admit(pool, 'patient', claimTokenHash)).toEqual(
      expect.objectContaining({ ...ref, attempt: 2 }),
    );
    await requestCancel(pool, ref.runId);
    expect(await requeueRun(pool, { ...ref, attempt: 2 }, crashed, null, 0)).toBe(false);
  });
});

describe('a run', () => {
  test('ends exactly once, whatever races', async () => {
    for (let round = 0; round < 10; round += 1) {
      await makeTenant(pool, `ends-${round}`);
      const ref = await admitted(`ends-${round}`);
      const ends = await Promise.all([
        finishRun(pool, ref, success, null),
        finishRun(pool, ref, canceled, null),
        finishRun(pool, ref, crashed, null),
        requeueRun(pool, ref, crashed, null, 0),
        requestCancel(pool, ref.runId).then(() => false),
      ]);
      expect(ends.filter(Boolean)).toHaveLength(1);
    }
  });

  test('that is queued is canceled at once, and never starts', async () => {
    await makeTenant(pool, 'queued');
    const runId = await queueRun(pool, 'queued');
    expect(await requestCancel(pool, runId)).toBe('CANCELED');
    await expect(admit(pool, 'queued', claimTokenHash)).rejects.toThrow('no run');
    expect(await findRun(pool, runId)).toMatchObject({ status: 'CANCELED', reason: 'CANCELED', attempt: 0 });
  });

  test('keeps the first stop cause', async () => {
    await makeTenant(pool, 'causes');
    const ref = await admitted('causes');
    expect(await recordStopCause(pool, ref, 'CANCELED')).toBe('CANCELED');
    expect(await recordStopCause(pool, ref, 'DEADLINE_EXCEEDED')).toBe('CANCELED');
  });

  test('that was claimed is not ended for not claiming', async () => {
    await makeTenant(pool, 'claimed');
    const ref = await admitted('claimed');
    expect(await claimRun(pool, ref, withToken)).toBe(true);
    expect(await recordStopCause(pool, ref, 'CLAIM_TIMEOUT')).toBeNull();
    expect(await recordStopCause(pool, ref, 'CANCELED')).toBe('CANCELED');
    expect(await recordStopCause(pool, ref, 'CLAIM_TIMEOUT')).toBeNull();
    await finishRun(pool, ref, canceled, null);
    expect(await recordStopCause(pool, ref, 'CANCELED')).toBeNull();
  });

  test.each([
    ['ends', finishRun, 'FAILED'],
    ['is made again', requeueNow, 'QUEUED'],
  ] as const)(
    'that %s while its runner reports waits for the report, or the report for it',
    async (name, end, then) => {
      const tenant = `locks-${end.name.toLowerCase()}`;
      await makeTenant(pool, tenant);
      const ref = await admitted(tenant);
      await pool.query('UPDATE workflow_runs SET retry_after_claim = true WHERE id = $1', [ref.runId]);
      await claimRun(pool, ref, withToken);
      await recordReport(pool, ref, batch(1, running('a', 0), running('b', 1)));
      // Whoever gets to step "b" waits there, with all the locks it took on the way.
      const [ended, reported] = await transaction(pool, async (client) => {
        await client.query(`SELECT 1 FROM step_runs WHERE run_id = $1 AND step_key = 'b' FOR UPDATE`, [
          ref.runId,
        ]);
        const ending = settled(end(pool, ref, crashed, null));
        await expect.poll(blocked).toBe(1);
        const reporting = settled(recordReport(pool, ref, batch(2, running('a', 0))));
        await expect.poll(blocked).toBe(2);
        return [ending, reporting];
      }).then((both) => Promise.all(both));
      expect({ name, ended, reported }).toEqual({ name, ended: true, reported: false });
      expect(await status(ref.runId)).toBe(then);
    },
  );

  /** Promise 2, and the state machine as a whole: any order of transitions, each repeated at will. */
  test('once terminal stays as it is, under any sequence of transitions', async () => {
    await setPlatformLimits(pool, { maxConcurrent: 100_000, startRate: undefined });
    let models = 0;
    const step = fc.constantFrom('admit', 'claim', 'requeue', 'finish', 'cancel', 'fail');
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 12 }),
        fc.integer({ min: 1, max: 3 }),
        async (steps, attempt) => {
          const tenantId = await makeTenant(pool, `model-${(models += 1)}`);
          const runId = await queueRun(pool, tenantId);
          const ref = { runId, attempt };
          let ended: string | undefined;
          for (const name of steps) {
            switch (name) {
              case 'admit':
                await admitRuns(pool, [{ tenantId, runs: 1 }], docker(claimTokenHash));
                break;
              case 'claim':
                await claimRun(pool, ref, withToken);
                break;
              case 'requeue':
                await requeueRun(pool, ref, crashed, null, 0);
                break;
              case 'finish':
                await finishRun(pool, ref, success, null);
                break;
              case 'fail':
                await finishRun(pool, ref, crashed, null);
                break;
              case 'cancel':
                await requestCancel(pool, runId);
                break;
            }
            const now = await status(runId);
            if (ended !== undefined) expect(now).toBe(ended);
            else if (now !== undefined && isTerminal(now)) ended = now;
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});
