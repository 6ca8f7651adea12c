import type pg from 'pg';
import type { DispatchStore } from '../dispatch/store.ts';
import { findLiveAttempt, liveAttempts } from './attempts.ts';
import { readDemand, recentStarts } from './demand.ts';
import {
  admitRuns,
  finishRun,
  postponeStart,
  recordContainer,
  recordStopCause,
  requestCancel,
  requeueRun,
} from './run-transitions.ts';

/** @returns the record in PostgreSQL. */
export const postgresDispatchStore = (pool: pg.Pool): DispatchStore => ({
  readDemand: (tenants) => readDemand(pool, tenants),
  recentStarts: () => recentStarts(pool),
  admitRuns: (wanted, attempt) => admitRuns(pool, wanted, attempt),
  liveAttempts: () => liveAttempts(pool),
  findLive: (runId) => findLiveAttempt(pool, runId),
  postponeStart: (ref) => postponeStart(pool, ref),
  recordContainer: (container) => recordContainer(pool, container),
  recordStopCause: (ref, cause) => recordStopCause(pool, ref, cause),
  finishRun: (ref, verdict, exit) => finishRun(pool, ref, verdict, exit),
  requeueRun: (ref, verdict, exit, delayMs) => requeueRun(pool, ref, verdict, exit, delayMs),
  requestCancel: (runId) => requestCancel(pool, runId),
});
