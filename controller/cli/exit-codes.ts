import { ERROR_CODES, WormholeError } from '../errors.ts';
import type { TerminalStatus } from '../model/run-status.ts';
import { UsageError } from './usage-error.ts';

/** The command did what it was asked to. */
export const EXIT_OK = 0;
/** The command line is wrong. */
export const EXIT_USAGE = 2;
/** Ended by Ctrl-C, as a shell reports it: 128 + SIGINT. */
export const EXIT_INTERRUPTED = 130;

/** What `--follow` exits with when the run has ended. */
export const EXIT_BY_STATUS: Readonly<Record<TerminalStatus, number>> = {
  SUCCESS: EXIT_OK,
  FAILED: 10,
  TIMEOUT: 11,
  CANCELED: 12,
};

/** @returns the exit code for an error. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof WormholeError) return error.exitCode;
  return error instanceof UsageError ? EXIT_USAGE : ERROR_CODES.INTERNAL.exitCode;
}
