import { parseArgs } from 'node:util';
import { Interrupt } from '../controller/cli/interrupt.ts';
import { Output } from '../controller/cli/output.ts';
import { messageOf } from '../controller/errors.ts';
import { benchDocker } from './docker.ts';
import { Progress } from './progress.ts';
import { metricsOf, report } from './report.ts';

const USAGE = 'usage: npm run bench -- docker [--json]';
const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

const interrupt = new Interrupt();
interrupt.listen();
process.exitCode = await main(process.argv.slice(2));

/** @returns the exit code: 0 when everything could be measured, whether or not the targets were met. */
async function main(args: string[]): Promise<number> {
  const { stdout, stderr } = process;
  const options = parse(args);
  if (options === undefined) {
    stderr.write(`${USAGE}\n`);
    return EXIT_USAGE;
  }
  const output = new Output({ stdout, stderr }, options.json);
  try {
    const findings = await benchDocker({ progress: new Progress(stderr), stderr, signal: interrupt.stop });
    report(findings, output);
    output.event(metricsOf(findings));
    return 0;
  } catch (error) {
    if (interrupt.stop.aborted) {
      stderr.write('bench: stopped; nothing of it is left\n');
      return interrupt.exitCode;
    }
    stderr.write(`bench: ${messageOf(error)}\n`);
    return EXIT_FAILED;
  }
}

function parse(args: string[]): { readonly json: boolean } | undefined {
  try {
    const { positionals, values } = parseArgs({
      args,
      allowPositionals: true,
      options: { json: { type: 'boolean', default: false } },
    });
    return positionals.length === 1 && positionals[0] === 'docker' ? values : undefined;
  } catch {
    return undefined;
  }
}
