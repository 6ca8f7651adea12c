import { describe, test } from 'vitest';
import type { Availability } from './availability.ts';
import { askHost, type Servers } from './host-protocol.ts';

/** Finds something that tests need, and starts it if it has to be started. */
export type Requirement<T> = () => Promise<Availability<T>>;

/**
 * A suite that needs something which not every machine has. Where it is missing the suite is one skipped test that
 * says what is missing; `npm test` lists and counts these, and with CI=true they are failures.
 */
export function describeWith<T>(name: string, requirement: Requirement<T>, suite: (found: T) => void): void {
  describe(name, async () => {
    const found = await requirement();
    if ('missing' in found) test.skip(`needs ${found.missing}`);
    else suite(found.value);
  });
}

/** A Redis database for this suite alone, as a URL. */
export const redis: Requirement<Servers['redis']> = () => askHost('redis');

/** A MongoDB database for this suite alone, as a URL. */
export const mongodb: Requirement<Servers['mongodb']> = () => askHost('mongodb');

/** A Kubernetes cluster with a node, network policies in force, and no DNS; its image loader is `loadImage`. */
export const cluster: Requirement<Servers['cluster']> = () => askHost('cluster');

/** A Kubernetes API server without nodes; does not need root. */
export const apiServer: Requirement<Servers['apiServer']> = () => askHost('apiServer');

/** The root user, for what only root does or may. */
export const root: Requirement<null> = () =>
  Promise.resolve(process.getuid?.() === 0 ? { value: null } : { missing: 'to run as root' });
