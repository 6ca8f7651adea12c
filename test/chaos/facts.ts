import { readdir } from 'node:fs/promises';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import type pg from 'pg';
import { LABELS } from '../../controller/model/labels.ts';
import type { RunStatus } from '../../controller/model/run-status.ts';
import { DEAD_LETTER_QUEUE, INTAKE_QUEUE } from '../../controller/queue/names.ts';
import type { Call } from './far-service.ts';
import type { Frozen } from './faults.ts';
import type { Submission } from './journal.ts';
import { INSTANCE, type World } from './world.ts';

/** A run as PostgreSQL has it. */
export interface RunFact {
  readonly id: string;
  readonly tenant: string;
  /** Of the submission that it was made of; null in a run that nobody asked for. */
  readonly marker: string | null;
  readonly status: RunStatus;
  readonly reason: string | null;
  readonly message: string | null;
  readonly attempt: number;
}

/** An attempt as PostgreSQL has it. */
export interface AttemptFact {
  readonly runId: string;
  readonly tenant: string;
  readonly number: number;
  /** Microseconds since the epoch, by PostgreSQL's clock. */
  readonly createdAt: number;
  readonly claimedAt: number | null;
  readonly endedAt: number | null;
  readonly reason: string | null;
  readonly message: string | null;
}

/** All that is compared when a suite has ended. */
export interface Facts {
  readonly caps: { readonly global: number; readonly tenants: ReadonlyMap<string, number> };
  readonly submissions: readonly Submission[];
  readonly runs: readonly RunFact[];
  readonly attempts: readonly AttemptFact[];
  readonly calls: readonly Call[];
  readonly frozen: readonly Frozen[];
  /** Jobs in `workflow_runs` that are not done. */
  readonly jobs: readonly string[];
  /** The runs that the letters in `dlq` name; null in one that names none. */
  readonly deadLetters: readonly (string | null)[];
  /** Containers, run folders: a line each. */
  readonly leftovers: readonly string[];
}

/** A completed job stays for as long as its producer asked for. */
const JOB_STATES = ['waiting', 'active', 'delayed', 'prioritized', 'failed'] as const;

/** @returns what PostgreSQL has of all runs. */
export async function readRecord(pool: pg.Pool): Promise<Pick<Facts, 'runs' | 'attempts'>> {
  const runs = await pool.query<RunFact>(
    `SELECT id, tenant_id AS tenant, input ->> 'marker' AS marker, status, reason, message, attempt
     FROM workflow_runs ORDER BY id`,
  );
  const attempts = await pool.query<AttemptFact>(
    `SELECT run_id AS "runId", tenant_id AS tenant, number, ${micros('created_at')} AS "createdAt",
       ${micros('claimed_at')} AS "claimedAt", ${micros('ended_at')} AS "endedAt", a.reason, a.message
     FROM run_attempts a JOIN workflow_runs r ON r.id = run_id ORDER BY run_id, number`,
  );
  return { runs: runs.rows, attempts: attempts.rows };
}

const micros = (column: string): string => `(extract(epoch FROM ${column}) * 1000000)::float8`;

/** @returns what is in the two queues. */
export async function readQueues(redisUrl: string): Promise<Pick<Facts, 'jobs' | 'deadLetters'>> {
  const connection = new Redis(redisUrl, { maxRetriesPerRequest: 1 });
  connection.on('error', () => undefined);
  const [intake, dead] = [INTAKE_QUEUE, DEAD_LETTER_QUEUE].map((name) => new Queue(name, { connection }));
  try {
    const jobs = (await intake?.getJobs([...JOB_STATES])) ?? [];
    const letters = (await dead?.getJobs([...JOB_STATES])) ?? [];
    return {
      jobs: jobs.map(({ id }) => id ?? ''),
      deadLetters: letters.map(({ data }) => (data as { readonly runId?: string | null }).runId ?? null),
    };
  } finally {
    await Promise.all([intake?.close(), dead?.close()]);
    connection.disconnect();
  }
}

/** @returns what the engine and the disk still have of runs. */
export async function readLeftovers({ engine, runDir }: World): Promise<string[]> {
  const containers = await engine.docker.listContainers({
    all: true,
    filters: { label: [`${LABELS.instance}=${INSTANCE}`] },
  });
  const folders = await readdir(runDir).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  });
  return [
    ...containers.map(({ Names, State, Id }) => `container ${Names[0] ?? Id} (${State})`),
    ...folders.map((name) => `run folder ${name}`),
  ];
}
