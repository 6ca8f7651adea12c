import type { LogEntry } from '../store/logs/types.ts';
import { displayText } from './display-text.ts';
import type { Output } from './output.ts';

const LEVEL_STYLES = { DEBUG: 'dim', INFO: 'green', WARN: 'yellow', ERROR: 'red' } as const;
const LEVEL_WIDTH = 5;

/** @returns a log entry as one line for people. */
export function logLine(entry: LogEntry, output: Output): string {
  const time = output.style('dim', entry.timestamp.toISOString().slice(11, 23));
  const level = output.style(LEVEL_STYLES[entry.level], entry.level.padEnd(LEVEL_WIDTH));
  const origin = entry.source === 'runner' ? (entry.stepKey ?? 'runner') : entry.source;
  return `${time} ${level} ${output.style('bold', displayText(origin))}  ${displayText(entry.message)}`;
}
