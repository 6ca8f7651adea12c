import { parseArgs } from 'node:util';
import { Interrupt } from '../../controller/cli/interrupt.ts';
import { messageOf } from '../../controller/errors.ts';
import { sweep } from './folder.ts';
import { auditLine, renderReport } from './report.ts';
import { runChaos } from './suite.ts';

const USAGE = 'usage: npm run chaos -- --minutes <n> [--seed <n>] [--kills-at-least <n>] [--backend docker]';
/** Something was violated, or the suite could not be held. */
const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

const interrupt = new Interrupt();
interrupt.listen();
process.exitCode = await main(process.argv.slice(2));

/** @returns the exit code: 0 when nothing was violated. */
async function main(args: string[]): Promise<number> {
  const asked = read(args);
  if (typeof asked === 'string') {
    process.stderr.write(`chaos: ${asked}\n${USAGE}\n`);
    return EXIT_USAGE;
  }
  const onStep = (step: string): void => void process.stderr.write(`… ${step}\n`);
  try {
    for (const folder of await sweep()) onStep(`removed ${folder}, left by a suite that was killed`);
    onStep(`seed ${asked.seed}`);
    const report = await runChaos({ ...asked, onStep, signal: interrupt.stop });
    process.stdout.write(`${renderReport(report)}\n${JSON.stringify(auditLine(report))}\n`);
    return report.violations.length === 0 ? 0 : EXIT_FAILED;
  } catch (error) {
    if (interrupt.stop.aborted) {
      process.stderr.write('chaos: stopped; nothing of it is left\n');
      return interrupt.exitCode;
    }
    process.stderr.write(`chaos: ${messageOf(error)}\n`);
    return EXIT_FAILED;
  }
}

/** @returns what was asked for, or what is wrong with it. */
function read(
  args: string[],
): { readonly minutes: number; readonly seed: number; readonly killsAtLeast: number } | string {
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: {
        minutes: { type: 'string' },
        seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
        'kills-at-least': { type: 'string', default: '0' },
        backend: { type: 'string', default: 'docker' },
      },
    }));
  } catch (error) {
    return messageOf(error);
  }
  const [minutes, seed, killsAtLeast] = [values.minutes, values.seed, values['kills-at-least']].map(Number);
  if (!(minutes! > 0)) return `--minutes ${values.minutes ?? 'is missing'}: a number above 0`;
  if (!Number.isSafeInteger(seed)) return `--seed ${values.seed}: an integer`;
  if (!Number.isSafeInteger(killsAtLeast) || killsAtLeast! < 0) return '--kills-at-least: an integer from 0';
  if (values.backend !== 'docker') return `--backend ${values.backend}: only docker`;
  if (process.getuid?.() !== 0) return 'it needs root, for a container engine of its own';
  return { minutes: minutes!, seed: seed!, killsAtLeast: killsAtLeast! };
}
