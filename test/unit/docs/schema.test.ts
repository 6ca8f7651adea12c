import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { workflowDefinitionSchema } from '../../../controller/model/workflow-definition.ts';
import { intakePayloadSchema } from '../../../controller/intake/intake-payload.ts';
import { JOB_SCHEMA, schemaText, WORKFLOW_SCHEMA } from '../../../scripts/schema.ts';

const EXAMPLES = new URL('../../../examples/', import.meta.url);
const published = z.fromJSONSchema(
  JSON.parse(readFileSync(WORKFLOW_SCHEMA.file, 'utf8')) as Parameters<typeof z.fromJSONSchema>[0],
);

test.each([WORKFLOW_SCHEMA, JOB_SCHEMA])(
  'the published schema is the one of the source: npm run schema ($title)',
  async (published) => {
    expect(readFileSync(published.file, 'utf8')).toBe(await schemaText(published));
  },
);

test.each([
  ['a reference', { tenantId: 'acme', workflowVersionId: '0192a1b2-0000-7000-8000-000000000000' }, true],
  [
    'everything',
    {
      tenantId: 'acme',
      workflowVersionId: '0192a1b2-0000-7000-8000-000000000000',
      input: [1, null],
      idempotencyKey: 'order-1',
      traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    },
    true,
  ],
  ['no tenant', { workflowVersionId: '0192a1b2-0000-7000-8000-000000000000' }, false],
  [
    'an unknown key',
    { tenantId: 'acme', workflowVersionId: '0192a1b2-0000-7000-8000-000000000000', x: 1 },
    false,
  ],
  ['no version id', { tenantId: 'acme', workflowVersionId: 'latest' }, false],
])('the platform and the published schema agree about a job with %s', (_what, payload, accepted) => {
  const schema = JSON.parse(readFileSync(JOB_SCHEMA.file, 'utf8')) as Parameters<typeof z.fromJSONSchema>[0];
  expect(intakePayloadSchema.safeParse(payload).success).toBe(accepted);
  expect(z.fromJSONSchema(schema).safeParse(payload).success).toBe(accepted);
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
