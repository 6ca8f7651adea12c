import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { hashToken } from '../../../controller/gateway/tokens.ts';
import type { AttemptRef, RunId } from '../../../controller/model/ids.ts';
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
  admitRun,
  claimRun,
  endQueuedRun,
  finishRun,
  recordStopCause,
  requestCancel,
  requeueRun,
} from '../../../controller/store/run-transitions.ts';
import { findRun } from '../../../controller/store/runs.ts';
import { setPlatformLimits } from '../../../controller/store/tenants.ts';
import { cloneDatabase } from '../../support/database.ts';
import { makeTenant, queueRun } from '../../support/runs.ts';

const { pool } = await cloneDatabase();
const claimTokenHash = hashToken('claim');
const reportTokenHash = hashToken('report');
const withToken = { proof: { kind: 'token', hash: claimTokenHash }, reportTokenHash } as const;
const success: Verdict = { status: 'SUCCESS', reason: null, message: null, infrastructure: false };
const crashed: Verdict = { status: 'FAILED', reason: 'RUNNER_CRASHED', message: 'x', infrastructure: true };
const canceled: Verdict = { status: 'CANCELED', reason: 'CANCELED', message: 'x', infrastructure: false };

const admit = (runId: RunId) => admitRun(pool, runId, { backend: 'docker', claimTokenHash });

async function admitted(tenant: string): Promise<AttemptRef> {
  const admission = await admit(await queueRun(pool, tenant));
  if (admission.kind !== 'admitted') throw new Error(admission.kind);
  return { runId: admission.attempt.runId, attempt: admission.attempt.attempt };
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
    await requeueRun(pool, ref, crashed, null);
    expect(await claimRun(pool, ref, withToken)).toBe(false);
    await admit(ref.runId);
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
        await admitRun(pool, runId, {
          backend: hasToken ? 'docker' : 'kubernetes',
          claimTokenHash: hasToken ? claimTokenHash : null,
        });
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
    const admission = await admitRun(pool, runId, { backend: 'kubernetes', claimTokenHash: null });
    expect(admission.kind).toBe('admitted');
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
  test('never exceed the tenant’s cap nor the global one, however many ask at the same time', async () => {
    await makeTenant(pool, 'wide', { maxConcurrent: 4 });
    await makeTenant(pool, 'narrow', { maxConcurrent: 3 });
    const held = await pool.query<{ n: number }>(
      `SELECT count(*)::int AS n FROM workflow_runs WHERE status IN ('STARTING', 'RUNNING')`,
    );
    await setPlatformLimits(pool, { maxConcurrent: (held.rows[0]?.n ?? 0) + 6, startRate: undefined });
    try {
      const runs = await Promise.all(
        Array.from({ length: 30 }, (_, i) => queueRun(pool, i % 2 === 0 ? 'wide' : 'narrow')),
      );
      const admissions = await Promise.all(runs.map(admit));
      const counted = await pool.query<{ tenant_id: string; n: number }>(
        `SELECT tenant_id, count(*)::int AS n FROM workflow_runs
         WHERE status = 'STARTING' AND tenant_id IN ('wide', 'narrow') GROUP BY tenant_id`,
      );
      const slots = Object.fromEntries(counted.rows.map((row) => [row.tenant_id, row.n]));
      expect(admissions.filter(({ kind }) => kind === 'admitted')).toHaveLength(6);
      expect((slots['wide'] ?? 0) + (slots['narrow'] ?? 0)).toBe(6);
      expect(slots['wide']).toBeLessThanOrEqual(4);
      expect(slots['narrow']).toBeLessThanOrEqual(3);
      expect(admissions.filter(({ kind }) => kind === 'held')).toHaveLength(24);
    } finally {
      await setPlatformLimits(pool, { maxConcurrent: 1000, startRate: undefined });
    }
  });

  test('come back when a run ends or its attempt is made again', async () => {
    await makeTenant(pool, 'single', { maxConcurrent: 1 });
    const first = await admitted('single');
    const second = await queueRun(pool, 'single');
    expect((await admit(second)).kind).toBe('held');
    await requeueRun(pool, first, crashed, null);
    expect((await admit(second)).kind).toBe('admitted');
    expect((await admit(first.runId)).kind).toBe('held');
    await finishRun(pool, { runId: second, attempt: 1 }, crashed, null);
    expect(await admit(first.runId)).toMatchObject({ kind: 'admitted', attempt: { attempt: 2 } });
  });
});

describe('a run', () => {
  test('ends exactly once, whatever races', async () => {
    await makeTenant(pool, 'races', { maxConcurrent: 1000 });
    for (let round = 0; round < 10; round += 1) {
      const ref = await admitted('races');
      const ends = await Promise.all([
        finishRun(pool, ref, success, null),
        finishRun(pool, ref, canceled, null),
        finishRun(pool, ref, crashed, null),
        requeueRun(pool, ref, crashed, null),
        requestCancel(pool, ref.runId).then(() => false),
      ]);
      expect(ends.filter(Boolean)).toHaveLength(1);
    }
  });

  test('that is queued is canceled at once, and never starts', async () => {
    await makeTenant(pool, 'queued');
    const runId = await queueRun(pool, 'queued');
    expect(await requestCancel(pool, runId)).toBe('CANCELED');
    expect(await admit(runId)).toMatchObject({ kind: 'refused', status: 'CANCELED' });
    expect(await endQueuedRun(pool, runId, canceled)).toBe(false);
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
    ['is made again', requeueRun, 'QUEUED'],
  ] as const)(
    'that %s while its runner reports waits for the report, or the report for it',
    async (name, end, then) => {
      const tenant = `locks-${end.name.toLowerCase()}`;
      await makeTenant(pool, tenant);
      const ref = await admitted(tenant);
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
    await makeTenant(pool, 'model', { maxConcurrent: 100_000 });
    await setPlatformLimits(pool, { maxConcurrent: 100_000, startRate: undefined });
    const step = fc.constantFrom('admit', 'claim', 'requeue', 'finish', 'cancel', 'fail', 'endQueued');
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 12 }),
        fc.integer({ min: 1, max: 3 }),
        async (steps, attempt) => {
          const runId = await queueRun(pool, 'model');
          const ref = { runId, attempt };
          let ended: string | undefined;
          for (const name of steps) {
            switch (name) {
              case 'admit':
                await admit(runId);
                break;
              case 'claim':
                await claimRun(pool, ref, withToken);
                break;
              case 'requeue':
                await requeueRun(pool, ref, crashed, null);
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
              case 'endQueued':
                await endQueuedRun(pool, runId, canceled);
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
