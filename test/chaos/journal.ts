import type { WorkflowName } from './workflows.ts';

/** One run that was asked for, however often it was sent. */
export interface Submission {
  /** In the run's input, so that every run that was made of it is found again. */
  readonly marker: string;
  readonly tenantId: string;
  readonly workflow: WorkflowName;
  readonly input: { readonly marker: string; readonly ms: number };
  readonly idempotencyKey: string;
  /** By whom it was sent first. */
  readonly by: 'client' | 'queue';
  /** The client library, or BullMQ, has acknowledged it. */
  isAcknowledged: boolean;
  /** The runs that the client library named, in answer to each time that it was sent. */
  readonly toldRunIds: Set<string>;
  isCancelRequested: boolean;
}

/** What the suite itself knows of its runs: the audit compares it with what the platform recorded. */
export class Journal {
  readonly submissions: Submission[] = [];
  /** How often something was sent that had been sent before. */
  duplicates = 0;
  /** How often a job was added again because Redis had been flushed. */
  resent = 0;

  /** Writes down what is about to be sent. */
  add(
    what: Omit<Submission, 'marker' | 'input' | 'idempotencyKey' | 'toldRunIds'> & { readonly ms: number },
  ): Submission {
    const marker = `m-${this.submissions.length + 1}`;
    const { ms, ...rest } = what;
    const submission = {
      ...rest,
      marker,
      input: { marker, ms },
      idempotencyKey: `key-${marker}`,
      toldRunIds: new Set<string>(),
    };
    this.submissions.push(submission);
    return submission;
  }
}
