import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { workflowDefinitionSchema } from '../../../controller/model/workflow-definition.ts';
import { SCHEMA_FILE, workflowSchemaText } from '../../../scripts/schema.ts';

const EXAMPLES = new URL('../../../examples/', import.meta.url);
const published = z.fromJSONSchema(
  JSON.parse(readFileSync(SCHEMA_FILE, 'utf8')) as Parameters<typeof z.fromJSONSchema>[0],
);

test('the published schema is the one of the source: npm run schema', async () => {
  expect(readFileSync(SCHEMA_FILE, 'utf8')).toBe(await workflowSchemaText());
});

describe.each(readdirSync(EXAMPLES))('examples/%s', (name) => {
  const definition: unknown = JSON.parse(readFileSync(new URL(name, EXAMPLES), 'utf8'));

  test('is accepted by the platform and by the published schema', () => {
    expect(workflowDefinitionSchema.safeParse(definition).error).toBeUndefined();
    expect(published.safeParse(definition).success).toBe(true);
  });

  test('is called as its file', () => {
    expect(definition).toMatchObject({ name: name.replace('.json', '') });
  });
});

test.each([
  ['an unknown key', { name: 'x', steps: [], surprise: 1 }],
  ['no step', { name: 'x', steps: [] }],
  [
    'an unknown method',
    {
      name: 'x',
      steps: [{ key: 'a', action: { type: 'HTTP', method: 'TRACE', endpointTemplate: 'http://a' } }],
    },
  ],
])('the published schema refuses %s', (_what, definition) => {
  expect(published.safeParse(definition).success).toBe(false);
});
