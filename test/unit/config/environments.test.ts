import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { loadConfig, type PlatformConfig } from '../../../controller/config.ts';
import { DEMO_MAX_CONCURRENT, DEMO_TENANTS } from '../../../controller/demo/scenarios.ts';

const DIST = join(import.meta.dirname, '../../../dist');
const FILE = 'workloads.k8s.yaml';
const configMapSchema = z.object({
  kind: z.literal('ConfigMap'),
  metadata: z.object({ name: z.literal('wormhole-config'), namespace: z.string() }),
  data: z.object({ 'wormhole.yaml': z.string() }),
});
const environments = readdirSync(DIST).filter((name) => readdirSync(join(DIST, name)).includes(FILE));
const folder = mkdtempSync(join(tmpdir(), 'environments-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** @returns what the control plane of an environment reads in its pods, and the namespace that it is in. */
function configOf(environment: string): { readonly config: PlatformConfig; readonly namespace: string } {
  const documents = parseAllDocuments(readFileSync(join(DIST, environment, FILE), 'utf8'));
  const [configMap] = documents.flatMap((document) => configMapSchema.safeParse(document.toJS()).data ?? []);
  if (configMap === undefined) throw new Error(`dist/${environment} has no ConfigMap "wormhole-config"`);
  const file = join(folder, 'wormhole.yaml');
  writeFileSync(file, configMap.data['wormhole.yaml']);
  return { config: loadConfig({ env: {}, file }), namespace: configMap.metadata.namespace };
}

test('dist/ has environments', () => {
  expect(environments).toEqual(expect.arrayContaining(['dev', 'production', 'staging']));
});

describe.each(environments)('the control plane of %s', (environment) => {
  const { config, namespace } = configOf(environment);

  test('accepts its configuration, and is where that says', () => {
    expect(config.kubernetes?.platformNamespace).toBe(namespace);
    expect(config.tenants.length).toBeGreaterThan(0);
  });

  test('has a file for each tenant, and no other', () => {
    const rendered = readdirSync(join(DIST, environment)).filter((name) => name.startsWith('tenant-'));
    expect(rendered.sort()).toEqual(config.tenants.map(({ id }) => `tenant-${id}.k8s.yaml`).sort());
  });
});

test("dev has exactly the demo's tenants and cap", () => {
  const { config } = configOf('dev');
  const byId = (tenants: PlatformConfig['tenants']): PlatformConfig['tenants'] =>
    tenants.toSorted((a, b) => a.id.localeCompare(b.id));
  expect(byId(config.tenants)).toEqual(byId(DEMO_TENANTS));
  expect(config.maxConcurrent).toBe(DEMO_MAX_CONCURRENT);
});
