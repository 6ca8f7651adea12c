import { jobPath } from '../controller/backends/kubernetes/job-path.ts';
import { runManifest } from '../controller/backends/kubernetes/run-manifest.ts';
import type { Client } from '../controller/client.ts';
import type { Write } from './audit-log.ts';
import { postAll, type Post } from './bare-poster.ts';
import type { BenchContext } from './benchmark.ts';
import { inTurn } from './in-turn.ts';
import { readJobOptions, strangeAttempt } from './job-options.ts';
import { submit, untilEnded } from './load.ts';
import { namespaceOf, TENANTS, type SimulatedPlatform } from './simulated-platform.ts';

/** The platform's Jobs and the bare client's are created in turn, in so many rounds. */
const ROUNDS = 2;
/** Of each round, before what counts: programs and connections get warm. */
const WARM_UPS = 100;

/** How Jobs were created, by the API server's log. */
export interface Creations {
  readonly jobs: number;
  /** From the first to the last, in seconds. */
  readonly seconds: number;
  /** Requests that the API server was working on at a time, on average. */
  readonly inFlight: number;
}

/** How fast the platform creates its Jobs, and how fast a bare client creates the same. */
export interface Submission {
  readonly ours: readonly Creations[];
  readonly bare: readonly Creations[];
}

/**
 * Lets a controller work off runs that wait for it and, in turn, posts the same Jobs by a bare client with as many requests in flight.
 * @param runs of each, in all.
 * @param redisUrl where the queue is. @default - in PostgreSQL
 */
export async function measureSubmission(
  platform: SimulatedPlatform,
  { progress, interrupt }: BenchContext,
  runs: number,
  redisUrl?: string,
): Promise<Submission> {
  const signal = interrupt.stop;
  const perRound = Math.ceil(runs / ROUNDS);
  const ours: Creations[] = [];
  const bare: Creations[] = [];
  for (let round = 1; round <= ROUNDS; round += 1) {
    progress.step(`${perRound} runs of ${TENANTS.length} tenants, round ${round} of ${ROUNDS}`);
    const created = await createByPlatform();
    ours.push(created);
    progress.step(`the same Jobs by a bare client, ${concurrency(created)} requests in flight`);
    bare.push(await createBare(concurrency(created)));
  }
  return { ours, bare };

  async function createByPlatform(): Promise<Creations> {
    await using opened = new AsyncDisposableStack();
    const client = await platform.connect(redisUrl);
    opened.defer(() => client.close());
    const { pool } = platform;
    await warmUp(client);
    // They wait for the controller: what is measured is how fast it works them off.
    await jobsCreated();
    await submit(client, perRound, signal);
    const controller = await platform.startController(redisUrl);
    opened.defer(() => controller.stop());
    await untilEnded({ pool, runs: perRound, progress, signal });
    // By then the API server has written its log, too.
    await platform.clear();
    return summary(await jobsCreated(), perRound);
  }

  /** The first controller also makes the tables. */
  async function warmUp(client: Client): Promise<void> {
    const controller = await platform.startController(redisUrl);
    try {
      await submit(client, WARM_UPS, signal);
      await untilEnded({ pool: platform.pool, runs: WARM_UPS, progress, signal });
      await platform.clear();
    } finally {
      await controller.stop();
    }
  }

  async function createBare(inFlight: number): Promise<Creations> {
    await postAll(await posts(WARM_UPS), inFlight, platform.access, signal);
    await platform.clear();
    const wanted = await posts(perRound);
    await jobsCreated();
    await postAll(wanted, inFlight, platform.access, signal);
    // By then the API server has written its log, too.
    await platform.clear();
    const created = await jobsCreated();
    return summary(created, perRound);
  }

  async function jobsCreated(): Promise<Write[]> {
    const writes = await platform.audit.read('"resource":"jobs"');
    return writes.filter(
      ({ verb, resource, user, status }) =>
        verb === 'create' && resource === 'jobs' && user === platform.controllerUser && status === 201,
    );
  }

  async function posts(count: number): Promise<Post[]> {
    const { config, api, gatewayCa } = platform;
    const options = await readJobOptions(config, api, gatewayCa);
    return Array.from({ length: count }, (_, index) => {
      const spec = strangeAttempt(inTurn(options.tenants, index));
      const namespace = namespaceOf(spec.tenantId);
      return { path: jobPath(namespace), body: JSON.stringify(runManifest(spec, namespace, options)) };
    });
  }
}

const concurrency = ({ inFlight }: Creations): number => Math.max(1, Math.ceil(inFlight));

/** @throws when the API server's log has another number of them. */
export function summary(created: readonly Write[], expected: number): Creations {
  if (created.length !== expected) {
    throw new Error(`the API server created ${created.length} Jobs, and ${expected} were wanted`);
  }
  const first = Math.min(...created.map(({ received }) => received));
  const last = Math.max(...created.map(({ answered }) => answered));
  const working = created.reduce((sum, { received, answered }) => sum + (answered - received), 0);
  return { jobs: created.length, seconds: (last - first) / 1000, inFlight: working / (last - first) };
}
