import { join } from 'node:path';
import type { Availability } from '../availability.ts';
import { buildGoProgram } from '../go-program.ts';
import type { ServerContext } from './server.ts';

/** Builds test/support/ferretdb. @returns the program's path. */
export function buildFerretDb(context: ServerContext): Promise<Availability<string>> {
  return buildGoProgram(
    {
      name: 'ferretdb',
      module: join(import.meta.dirname, '..', 'ferretdb'),
      tags: 'ferretdb_no_postgresql',
      takes: 'a few minutes',
    },
    context,
  );
}
