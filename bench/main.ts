import { parseArgs } from 'node:util';
import { Interrupt } from '../controller/cli/interrupt.ts';
import { Output } from '../controller/cli/output.ts';
import { UsageError } from '../controller/cli/usage-error.ts';
import { messageOf } from '../controller/errors.ts';
import type { BenchContext, Benchmark } from './benchmark.ts';
import { Progress } from './progress.ts';
import { print } from './report.ts';

// Loaded only when they are needed: queue and drivers take longer to load than help to print.
const BENCHMARKS: Readonly<Record<string, () => Promise<Benchmark>>> = {
  capacity: async () => (await import('./capacity.ts')).capacityBenchmark,
  docker: async () => (await import('./docker.ts')).dockerBenchmark,
  kubernetes: async () => (await import('./kubernetes.ts')).kubernetesBenchmark,
};

const USAGE = `usage: npm run bench -- ${Object.keys(BENCHMARKS).join('|')} [--json] [--only <part,…>] [--runs <n>]`;
const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

const interrupt = new Interrupt();
interrupt.listen();
process.exitCode = await main(process.argv.slice(2));

/** @returns the exit code: 0 when everything could be measured, whether or not the targets were met. */
async function main(args: string[]): Promise<number> {
  const { env, stdin, stdout, stderr } = process;
  try {
    const { benchmark, json, parts, runs } = await parse(args);
    const context: BenchContext = {
      ...{ env, interrupt, parts, streams: { stdin, stdout, stderr } },
      progress: new Progress(stderr),
      ...(runs !== undefined && { runs }),
    };
    print(await benchmark.run(context), new Output({ stdout, stderr }, json));
    return 0;
  } catch (error) {
    if (error instanceof UsageError) {
      stderr.write(`bench: ${error.message}\n${USAGE}\n`);
      return EXIT_USAGE;
    }
    if (interrupt.stop.aborted) {
      stderr.write('bench: stopped; nothing of it is left\n');
      return interrupt.exitCode;
    }
    stderr.write(`bench: ${messageOf(error)}\n`);
    return EXIT_FAILED;
  }
}

async function parse(
  args: string[],
): Promise<Pick<BenchContext, 'parts' | 'runs'> & { readonly benchmark: Benchmark; readonly json: boolean }> {
  const { positionals, values } = read(args);
  const [name = '', ...more] = positionals;
  const load = Object.hasOwn(BENCHMARKS, name) ? BENCHMARKS[name] : undefined;
  if (load === undefined || more.length > 0)
    throw new UsageError(`what to measure: "${positionals.join(' ')}"`);
  const benchmark = await load();
  const parts = values.only?.split(',') ?? benchmark.parts;
  const unknown = parts.find((part) => !benchmark.parts.includes(part));
  if (unknown !== undefined) {
    const known = benchmark.parts.join(', ');
    throw new UsageError(`--only "${unknown}": ${known === '' ? `${name} has no parts` : `one of ${known}`}`);
  }
  const runs = values.runs === undefined ? undefined : Number(values.runs);
  if (runs !== undefined && !(Number.isSafeInteger(runs) && runs > 0)) {
    throw new UsageError(`--runs "${values.runs}": a number from 1`);
  }
  return { benchmark, json: values.json, parts: new Set(parts), ...(runs !== undefined && { runs }) };
}

function read(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        json: { type: 'boolean', default: false },
        only: { type: 'string' },
        runs: { type: 'string' },
      },
    });
  } catch (error) {
    throw new UsageError(messageOf(error));
  }
}
