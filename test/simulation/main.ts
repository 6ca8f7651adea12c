import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { messageOf } from '../../controller/errors.ts';
import { hunt, replayOf, seedsFrom } from './hunt.ts';
import { simulate } from './simulation.ts';

const USAGE =
  'usage: npm run simulate -- --seeds <n> [--from <seed>] [--processes <n>]\n       npm run simulate -- --seed <seed>';
const EXIT_VIOLATED = 1;
const EXIT_USAGE = 2;
const PROGRESS_MS = 10_000;

interface Asked {
  /** One seed, with all that happens. */
  readonly seed: number | undefined;
  readonly seeds: number;
  readonly from: number;
  readonly processes: number;
}

process.exitCode = await main(process.argv.slice(2));

/** @returns the exit code: 0 when nothing that is promised was violated. */
async function main(args: string[]): Promise<number> {
  let asked: Asked;
  try {
    asked = read(args);
  } catch (error) {
    process.stderr.write(`simulate: ${messageOf(error)}\n${USAGE}\n`);
    return EXIT_USAGE;
  }
  if (asked.seed !== undefined) return await replay(asked.seed);
  // Errors are made by the thousand; nobody looks where.
  Error.stackTraceLimit = 0;
  if (asked.processes > 1) return await share(asked);
  const startedAt = performance.now();
  let done = 0;
  const progress = setInterval(
    () => process.stderr.write(`… ${done} of ${asked.seeds} seeds\n`),
    PROGRESS_MS,
  );
  const found = await hunt(
    counted(seedsFrom(asked.from, asked.seeds), () => (done += 1)),
    {
      onViolation: ({ seed, violation }) =>
        process.stdout.write(`seed ${seed}: ${violation ?? ''}; ${replayOf(seed)}\n`),
    },
  );
  clearInterval(progress);
  const seconds = (performance.now() - startedAt) / 1000;
  const rate = (found.seeds / seconds).toFixed(0);
  const hours = (found.simulatedMs / 3_600_000).toFixed(1);
  process.stdout.write(
    `${found.seeds} seeds, ${found.runs} runs, ${hours} h simulated in ${seconds.toFixed(1)} s (${rate} seeds/s): ${found.violations.length} violations\n`,
  );
  return found.violations.length === 0 ? 0 : EXIT_VIOLATED;
}

async function replay(seed: number): Promise<number> {
  const onLine = (line: string): void => void process.stdout.write(`${line}\n`);
  const { violation } = await simulate(seed, { onLine });
  process.stdout.write(`seed ${seed}: ${violation ?? 'nothing was violated'}\n`);
  return violation === undefined ? 0 : EXIT_VIOLATED;
}

/** Divides the seeds among processes of the same program. */
async function share({ seeds, from, processes }: Asked): Promise<number> {
  const each = Math.ceil(seeds / processes);
  const codes = Array.from({ length: processes }, (_, nth) => {
    const first = from + nth * each;
    const count = Math.min(each, from + seeds - first);
    const args = ['--seeds', String(count), '--from', String(first), '--processes', '1'];
    const ended = Promise.withResolvers<number>();
    const child = fork(import.meta.filename, args);
    child.on('error', ended.reject);
    child.on('exit', (code) => ended.resolve(code ?? EXIT_VIOLATED));
    return ended.promise;
  });
  return Math.max(...(await Promise.all(codes)));
}

function* counted(seeds: Iterable<number>, onNext: () => void): Generator<number> {
  for (const seed of seeds) {
    yield seed;
    onNext();
  }
}

/** @throws what is wrong with the arguments. */
function read(args: string[]): Asked {
  const { values } = parseArgs({
    args,
    options: {
      seed: { type: 'string' },
      seeds: { type: 'string', default: '10000' },
      from: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 30)) },
      processes: { type: 'string', default: String(availableParallelism()) },
    },
  });
  const whole = (name: string, value: string, least: number): number => {
    const number = Number(value);
    if (Number.isSafeInteger(number) && number >= least) return number;
    throw new Error(`--${name} ${value}: a whole number from ${least} up`);
  };
  const seeds = whole('seeds', values.seeds, 1);
  return {
    seed: values.seed === undefined ? undefined : whole('seed', values.seed, 0),
    seeds,
    from: whole('from', values.from, 0),
    processes: Math.min(seeds, whole('processes', values.processes, 1)),
  };
}
