import type { Client } from '../client.ts';
import { WormholeError } from '../errors.ts';
import { runIdSchema, type RunId } from '../model/ids.ts';

/** Parts of an id are looked for among this many runs, the newest. */
const SEARCHED_RUNS = 1000;
const SHORTEST_PART = 4;
const SHOWN_MATCHES = 5;
/** Ids start with the time, so runs of one minute share their beginning: the end tells them apart. */
const SHORT_ID_LENGTH = 8;

/** @returns the end of the id: what tables show, and what `findRun` takes. */
export const shortId = (runId: RunId): string => runId.slice(-SHORT_ID_LENGTH);

/**
 * Finds the run that people mean: by its id, or by its beginning or end.
 * @throws {WormholeError} RUN_NOT_FOUND when no run or more than one matches.
 */
export async function findRun(client: Client, given: string): Promise<RunId> {
  const wanted = given.toLowerCase();
  const whole = runIdSchema.safeParse(wanted);
  if (whole.success) return whole.data;
  if (!/^[0-9a-f-]+$/.test(wanted) || wanted.length < SHORTEST_PART) {
    throw new WormholeError(
      'RUN_NOT_FOUND',
      `"${given.slice(0, 50)}" is no run id: give the whole id, or at least ${SHORTEST_PART} characters of its beginning or end`,
    );
  }
  const runs = await client.runs({ limit: SEARCHED_RUNS });
  const matches = runs.map(({ id }) => id).filter((id) => id.startsWith(wanted) || id.endsWith(wanted));
  const [match, ...others] = matches;
  if (match === undefined) {
    throw new WormholeError(
      'RUN_NOT_FOUND',
      `none of the ${runs.length} newest runs has an id that starts or ends with "${wanted}"; "wormhole ls" lists them`,
    );
  }
  if (others.length > 0) {
    const shown = matches.slice(0, SHOWN_MATCHES).join(', ');
    throw new WormholeError(
      'RUN_NOT_FOUND',
      `"${wanted}" matches ${matches.length} runs (${shown}${matches.length > SHOWN_MATCHES ? ', …' : ''}); give more of the id`,
    );
  }
  return match;
}
