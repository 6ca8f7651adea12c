import { join } from 'node:path';
import type { Availability } from '../availability.ts';
import { buildGoProgram, type BuildContext } from '../go-program.ts';

/** Docker Compose's version; program/go.mod has the same. */
const VERSION = 'v2.40.3';

/** Builds Docker Compose. @returns the program's path. */
export function buildCompose(context: BuildContext): Promise<Availability<string>> {
  return buildGoProgram(
    {
      name: 'docker-compose',
      module: join(import.meta.dirname, 'program'),
      package: 'github.com/docker/compose/v2/cmd',
      variables: { 'github.com/docker/compose/v2/internal.Version': VERSION },
      takes: 'a few minutes',
    },
    context,
  );
}
