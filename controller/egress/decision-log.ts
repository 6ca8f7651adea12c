import type { UnnumberedEntry } from '../store/logs/log-buffer.ts';
import type { EgressRecord } from './record.ts';

/** @returns the decision as a line of its run's log; null if it belongs to no run that could be told. */
export function decisionLine(record: EgressRecord): UnnumberedEntry | null {
  const { tenantId, runId, attempt, method, host, port, allowed, reason, address, dropped } = record;
  if (tenantId === null || runId === null || attempt === null) return null;
  const target =
    dropped !== null
      ? `${dropped} connections, unread`
      : host === null
        ? 'an unreadable target'
        : `${host}:${port ?? '?'}`;
  return {
    timestamp: record.at,
    tenantId,
    runId,
    attempt,
    source: 'egress',
    stepKey: null,
    level: allowed ? 'DEBUG' : 'WARN',
    message: `egress ${allowed ? 'allowed' : 'denied'}: ${target}${reason === null ? '' : ` (${reason})`}`,
    fields: { method, host, port, allowed, reason, address, dropped },
  };
}
