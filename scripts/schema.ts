// Writes the JSON Schemas in docs/: `npm run schema`.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { z } from 'zod';
import { intakePayloadSchema } from '../controller/intake/intake-payload.ts';
import { workflowDefinitionSchema } from '../controller/model/workflow-definition.ts';

/** A published JSON Schema, for editors and other tools. */
interface Published {
  readonly file: URL;
  readonly schema: z.ZodType;
  readonly title: string;
  readonly description: string;
}

const docs = new URL('../docs/', import.meta.url);

/** What people write in a workflow's file: what has a default may be left out. */
export const WORKFLOW_SCHEMA: Published = {
  file: new URL('workflow-definition.schema.json', docs),
  schema: workflowDefinitionSchema,
  title: 'Wormhole workflow definition',
  description: 'Ordered steps, each one HTTP action. Reference: docs/workflow-definition.md.',
};

/** What a plain BullMQ producer adds to the queue `workflow_runs`. */
export const JOB_SCHEMA: Published = {
  file: new URL('workflow-runs-job.schema.json', docs),
  schema: intakePayloadSchema,
  title: 'Job of the queue workflow_runs',
  description: 'One run to be recorded. Reference: docs/producers.md.',
};

/** @returns the JSON Schema as text, formatted as the file is. */
export async function schemaText({ file, schema, title, description }: Published): Promise<string> {
  const { $schema, ...content } = z.toJSONSchema(schema, { io: 'input' });
  const document = { $schema, title, description, ...content };
  // The only references are to z.json(), which is any JSON: an empty schema says the same in fewer words.
  const text = JSON.stringify(document, (key, value: unknown) =>
    key === '$ref' || key === '$defs' ? undefined : value,
  );
  return await format(text, { ...(await resolveConfig(fileURLToPath(file))), parser: 'json' });
}

if (import.meta.main) {
  for (const published of [WORKFLOW_SCHEMA, JOB_SCHEMA]) {
    writeFileSync(published.file, await schemaText(published));
  }
}
