import { isTerminal } from '../model/run-status.ts';
import type { RunDetail } from '../store/runs.ts';
import { displayJson, displayText } from './display-text.ts';
import { formatBetween } from './durations.ts';
import { EXIT_BY_STATUS } from './exit-codes.ts';
import { WormholeError } from '../errors.ts';
import type { Output } from './output.ts';

/**
 * Says how a run that was followed has ended.
 * @returns the exit code that tells it to scripts.
 */
export function tellEnd(run: RunDetail, output: Output): number {
  if (!isTerminal(run.status))
    throw new WormholeError('INTERNAL', `run ${run.id} is ${run.status}, not ended`);
  output.event({ type: 'ended', run });
  const why = [run.reason, run.message].filter((part) => part !== null).join(': ');
  const took = formatBetween(run.startingAt, run.finishedAt);
  output.line(`${output.status(run.status)} in ${took}${why === '' ? '' : `  ${displayText(why)}`}`);
  if (run.output !== null) output.line(displayJson(run.output, 2));
  return EXIT_BY_STATUS[run.status];
}
