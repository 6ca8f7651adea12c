import Table from 'cli-table3';
import type { Violation } from './audit.ts';
import type { ChaosReport } from './suite.ts';
import { isKill } from './schedule.ts';

const SHOWN_VIOLATIONS = 50;

/** The audit's numbers, for programs: the last line of a suite. */
export function auditLine(report: ChaosReport): Readonly<Record<string, unknown>> {
  const { facts, journal, takeOversMs, peak, violations } = report;
  const count = (status: string): number => facts.runs.filter((run) => run.status === status).length;
  const claimed = facts.attempts.filter(({ claimedAt }) => claimedAt !== null).length;
  const kinds = [...report.faults].sort(([a], [b]) => a.localeCompare(b));
  return {
    kills: report.kills,
    submitted: journal.submissions.length,
    violations: violations.length,
    ...{
      lost: of(report, 'LOST'),
      executed_twice: of(report, 'EXECUTED_TWICE'),
      left_over: of(report, 'LEFT_OVER'),
    },
    cap_exceeded: of(report, 'CAP_EXCEEDED'),
    ...{
      success: count('SUCCESS'),
      failed: count('FAILED'),
      canceled: count('CANCELED'),
      timeout: count('TIMEOUT'),
    },
    failed_unkilled: report.failedUnkilled,
    ...{ attempts: facts.attempts.length, claimed, calls: facts.calls.length },
    ...{ duplicates: journal.duplicates, resent_after_flush: journal.resent },
    ...{ samples: report.samples, peak_slots: peak.slots, peak_containers: peak.containers },
    ...{ peak_orphans: peak.orphans, orphan_ms_max: Math.round(peak.orphanMs) },
    ...{
      take_overs: takeOversMs.length,
      take_over_ms_p50: at(takeOversMs, 0.5),
      take_over_ms_max: at(takeOversMs, 1),
    },
    ...{ seconds: Math.round(report.seconds), seed: report.seed, faults: Object.fromEntries(kinds) },
  };
}

const of = ({ violations }: ChaosReport, kind: Violation['kind']): number =>
  violations.filter((one) => one.kind === kind).length;

function at(values: readonly number[], share: number): number | null {
  const sorted = [...values].sort((a, b) => a - b);
  const value = sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  return value === undefined ? null : Math.round(value);
}

/** What was done and what came of it, for people. */
export function renderReport(report: ChaosReport): string {
  const faults = table(
    ['fault', 'done', 'kills'],
    [...report.faults].map(([kind, count]) => [kind, count, isKill(kind) ? count : 0]),
  );
  const ends = Map.groupBy(report.facts.runs, ({ status, reason }) => `${status} ${reason ?? ''}`.trim());
  const runs = table(
    ['runs ended as', 'runs'],
    [...ends].map(([end, { length }]): [string, number] => [end, length]).sort(([, a], [, b]) => b - a),
  );
  const { violations } = report;
  const shown = violations
    .slice(0, SHOWN_VIOLATIONS)
    .map(({ kind, runId, evidence }) => `${kind} ${runId ?? ''}\n  ${evidence}`);
  if (violations.length > shown.length) shown.push(`and ${violations.length - shown.length} more`);
  return [faults, runs, ...shown, ...(report.logs === null ? [] : [`logs: ${report.logs}`])].join('\n');
}

function table(head: string[], rows: (string | number)[][]): string {
  const drawn = new Table({ head, style: { head: [], border: [] } });
  drawn.push(...rows);
  return drawn.toString();
}
