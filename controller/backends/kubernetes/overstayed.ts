import type { Job } from './objects.ts';
import { isFinishedJob } from './survey.ts';

/** A finished Job is removed by its TTL of five minutes; one that is still there this much later was forgotten. */
const FINISHED_MS = 15 * 60 * 1000;
/** A Job that has not ended this long after its own deadline will not. */
const UNFINISHED_MS = 10 * 60 * 1000;

/** Finds Jobs that should be gone. How long they have been there is measured on our own clock: others may be wrong. */
export class Overstayed {
  #since = new Map<string, number>();

  /** @param jobs all that there are now. @returns those among them that are to be deleted. */
  among(jobs: readonly Job[]): Job[] {
    const now = performance.now();
    const since = new Map<string, number>();
    const overstayed = jobs.filter((job) => {
      const finished = isFinishedJob(job);
      const key = `${job.metadata.uid} ${finished ? 'finished' : 'live'}`;
      const first = this.#since.get(key) ?? now;
      since.set(key, first);
      const deadlineMs = (job.spec.activeDeadlineSeconds ?? 0) * 1000;
      return now - first >= (finished ? FINISHED_MS : deadlineMs + UNFINISHED_MS);
    });
    this.#since = since;
    return overstayed;
  }
}
