// Writes docs/workflow-definition.schema.json: `npm run schema`.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { z } from 'zod';
import { workflowDefinitionSchema } from '../controller/model/workflow-definition.ts';

/** The published JSON Schema, for editors and other tools. */
export const SCHEMA_FILE = new URL('../docs/workflow-definition.schema.json', import.meta.url);

/** @returns the JSON Schema of a workflow definition as people write it: what has a default may be left out. */
export async function workflowSchemaText(): Promise<string> {
  const { $schema, ...schema } = z.toJSONSchema(workflowDefinitionSchema, { io: 'input' });
  const document = {
    $schema,
    title: 'Wormhole workflow definition',
    description: 'Ordered steps, each one HTTP action. Reference: docs/workflow-definition.md.',
    ...schema,
  };
  // The only references are to z.json(), which is any JSON: an empty schema says the same in fewer words.
  const text = JSON.stringify(document, (key, value: unknown) =>
    key === '$ref' || key === '$defs' ? undefined : value,
  );
  return await format(text, { ...(await resolveConfig(fileURLToPath(SCHEMA_FILE))), parser: 'json' });
}

if (import.meta.main) writeFileSync(SCHEMA_FILE, await workflowSchemaText());
