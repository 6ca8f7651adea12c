import type pg from 'pg';
import { WormholeError } from '../errors.ts';
import type { AttemptRef, WorkflowVersionId } from '../model/ids.ts';
import { boundedJson, storableText } from '../model/json.ts';
import { LIMITS } from '../model/limits.ts';
import {
  findByReportToken,
  recordReport,
  recordResult,
  type ReportingAttempt,
  type StepReport,
} from '../store/attempts.ts';
import type { LogEntry, LogStore } from '../store/logs/types.ts';
import { findWorkflowVersion } from '../store/workflow-versions.ts';
import type { Report, ResultMessage } from './messages.ts';
import type { RunnerIdentity } from './identity.ts';
import { hashToken } from './tokens.ts';

/** Longest message of a result that is kept, in characters. */
const MESSAGE_CHARACTERS = 2000;
/** Workflow versions whose step order is remembered; a version never changes. */
const REMEMBERED_VERSIONS = 1000;

/** What the runner is told after a report: go on, or stop and why. */
export interface ReportAnswer {
  readonly cancel: 'CANCELED' | 'DEADLINE_EXCEEDED' | null;
}

/** Records what runners report: steps to PostgreSQL, logs to the log store. */
export class Reports {
  readonly #pool: pg.Pool;
  readonly #logs: LogStore;
  readonly #onLogsLost: (ref: AttemptRef, lost: number, error: unknown) => void;
  readonly #positions = new Map<string, ReadonlyMap<string, number>>();

  /** @param onLogsLost told of log lines that the log store did not take: a run never fails for its logs. */
  constructor(
    pool: pg.Pool,
    logs: LogStore,
    onLogsLost: (ref: AttemptRef, lost: number, error: unknown) => void,
  ) {
    this.#pool = pool;
    this.#logs = logs;
    this.#onLogsLost = onLogsLost;
  }

  /**
   * Records one batch; the same batch again changes nothing.
   * @throws {WormholeError} TOKEN_REFUSED, ATTEMPT_ENDED, PAYLOAD_INVALID.
   */
  async report(ref: RunnerIdentity, reportToken: string, report: Report): Promise<ReportAnswer> {
    const attempt = await this.#authenticate(ref, reportToken);
    if (attempt.ended || attempt.resulted) throw ended(ref);
    if (report.sequence > attempt.reportSequence + 1) {
      throw new WormholeError(
        'PAYLOAD_INVALID',
        `report ${report.sequence} of run ${ref.runId} came after report ${attempt.reportSequence}; reports are numbered without gaps`,
      );
    }
    if (report.sequence === attempt.reportSequence + 1) {
      const positions = await this.#positionsOf(attempt);
      const logBytes = await this.#appendLogs(attempt, report, positions);
      const steps = foldSteps(report, positions);
      await recordReport(this.#pool, ref, { sequence: report.sequence, steps, logBytes });
    }
    if (attempt.stopCause === 'DEADLINE_EXCEEDED') return { cancel: 'DEADLINE_EXCEEDED' };
    return { cancel: attempt.cancelRequested || attempt.stopCause !== null ? 'CANCELED' : null };
  }

  /**
   * Records the runner's last word; a second one changes nothing.
   * @throws {WormholeError} TOKEN_REFUSED, ATTEMPT_ENDED.
   */
  async result(ref: RunnerIdentity, reportToken: string, result: ResultMessage): Promise<void> {
    const attempt = await this.#authenticate(ref, reportToken);
    if (attempt.ended) throw ended(ref);
    await recordResult(this.#pool, ref, {
      status: result.status,
      ...('reason' in result && { reason: result.reason }),
      ...('message' in result && { message: boundedMessage(result.message) }),
      ...('output' in result &&
        result.output !== undefined && { output: boundedJson(result.output, LIMITS.outputBytes) }),
      ...('error' in result &&
        result.error !== undefined && { error: boundedJson(result.error, LIMITS.outputBytes) }),
    });
  }

  async #authenticate(from: RunnerIdentity, reportToken: string): Promise<ReportingAttempt> {
    const podUid = from.kind === 'pod' ? from.podUid : null;
    const attempt = await findByReportToken(this.#pool, from, hashToken(reportToken), podUid);
    if (attempt === undefined) {
      throw new WormholeError(
        'TOKEN_REFUSED',
        `the report token is not one of attempt ${from.attempt} of run ${from.runId}, or not this container's`,
      );
    }
    return attempt;
  }

  async #positionsOf(attempt: ReportingAttempt): Promise<ReadonlyMap<string, number>> {
    const known = this.#positions.get(attempt.workflowVersionId);
    if (known !== undefined) return known;
    const version = await findWorkflowVersion(
      this.#pool,
      attempt.tenantId,
      attempt.workflowVersionId as WorkflowVersionId,
    );
    const positions = new Map(version?.definition.steps.map((step, index) => [step.key, index]));
    const oldest = this.#positions.keys().next();
    if (this.#positions.size >= REMEMBERED_VERSIONS && !oldest.done) this.#positions.delete(oldest.value);
    this.#positions.set(attempt.workflowVersionId, positions);
    return positions;
  }

  /** @returns how many bytes of log lines the batch held, kept or not. */
  async #appendLogs(
    attempt: ReportingAttempt,
    report: Report,
    positions: ReadonlyMap<string, number>,
  ): Promise<number> {
    const sizes = report.logs.map(bytesOfLine);
    const kept = countWithin(LIMITS.logBytesPerRun - attempt.logBytes, sizes);
    const entries: LogEntry[] = report.logs.slice(0, kept).map((line) => ({
      timestamp: line.timestamp,
      tenantId: attempt.tenantId,
      runId: attempt.runId,
      attempt: attempt.attempt,
      source: 'runner',
      sequence: line.sequence,
      stepKey: line.stepKey !== undefined && positions.has(line.stepKey) ? line.stepKey : null,
      level: line.level,
      message: boundedText(line.message, LIMITS.logMessageBytes),
      fields: line.fields === undefined ? null : boundedJson(line.fields, LIMITS.logMessageBytes),
    }));
    // Once: a runner that goes on and on fills no other log either.
    const dropped = attempt.logBytes > LIMITS.logBytesPerRun ? 0 : report.logs.length - kept;
    const lost = dropped + report.droppedLogs;
    if (lost > 0) this.#onLogsLost(attempt, lost, 'the run logs more than it may');
    try {
      if (entries.length > 0) await this.#logs.append(entries);
    } catch (error) {
      this.#onLogsLost(attempt, entries.length, error);
    }
    return sizes.reduce((sum, size) => sum + size, 0);
  }
}

/** What a line counts beside its message and fields, so that empty ones are bounded too. */
const LINE_BYTES = 64;

const bytesOfLine = (line: Report['logs'][number]): number =>
  LINE_BYTES +
  Buffer.byteLength(line.message) +
  (line.fields === undefined ? 0 : Buffer.byteLength(JSON.stringify(line.fields)));

/** @returns how many of the sizes, from the first on, `room` holds. */
function countWithin(room: number, sizes: readonly number[]): number {
  let sum = 0;
  const over = sizes.findIndex((size) => (sum += size) > room);
  return over === -1 ? sizes.length : over;
}

const ended = (ref: AttemptRef): WormholeError =>
  new WormholeError('ATTEMPT_ENDED', `attempt ${ref.attempt} of run ${ref.runId} has ended`);

const boundedMessage = (message: string): string =>
  storableText(message).slice(0, MESSAGE_CHARACTERS).toWellFormed();

/** @returns the text made storable and cut to `maxBytes` of UTF-8. */
function boundedText(text: string, maxBytes: number): string {
  const storable = storableText(text);
  if (Buffer.byteLength(storable) <= maxBytes) return storable;
  return `${Buffer.from(storable).subarray(0, maxBytes).toString('utf8')}… (cut)`;
}

/** One row a step: the last transition of the batch, with the first start. Steps that the definition lacks are dropped. */
function foldSteps(report: Report, positions: ReadonlyMap<string, number>): StepReport[] {
  const folded = new Map<string, StepReport>();
  for (const step of report.steps) {
    const position = positions.get(step.key);
    if (position === undefined) continue;
    folded.set(step.key, {
      key: step.key,
      position,
      status: step.status,
      startedAt: step.startedAt ?? folded.get(step.key)?.startedAt ?? null,
      finishedAt: step.finishedAt ?? null,
      tries: step.tries ?? 0,
      output: step.output === undefined ? null : boundedJson(step.output, LIMITS.outputBytes),
      error: step.error === undefined ? null : boundedJson(step.error, LIMITS.outputBytes),
    });
  }
  return [...folded.values()];
}
