import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Environment, environmentApps, InvalidValueError, parseEnvironment } from '../../lib/index.ts';

const parse = (text: string): Environment => parseEnvironment('environments/test.yaml', text);

const messageOf = (text: string): string => {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof InvalidValueError) return error.message;
    throw error;
  }
  throw new Error('the text was accepted');
};

describe('an environment file', () => {
  it('needs nothing but tenants', () => {
    expect(parse('tenants:\n  - id: acme\n')).toEqual({
      instance: 'wormhole',
      platformNamespace: 'wormhole-system',
      tenantNamespacePrefix: 'wormhole-run',
      tenants: [{ id: 'acme', maxConcurrent: 5, limits: { cpus: 1, memoryMb: 512, tmpMb: 64 } }],
    });
  });

  it('becomes one chart per tenant, in the tenant’s own namespace', () => {
    const environment = parse('tenantNamespacePrefix: t\ntenants: [{id: b}, {id: a}]');
    const charts = environmentApps(environment, 'unused').flatMap((app) => app.charts);
    expect(charts.map(({ node }) => node.id)).toEqual(['tenant-b', 'tenant-a']);
    expect((charts[0]!.toJson() as { metadata: object }[])[0]!.metadata).toMatchObject({ name: 't-b' });
  });

  it.each([
    ['', 'the whole value is null; allowed: a value of type object'],
    ['[]', 'the whole value is []; allowed: a value of type object'],
    ['{}', 'tenants is missing; allowed: a value of type array'],
    ['tenants: []', 'tenants is []; allowed: at least 1 entries'],
    ['tenants: [{}]', 'tenants[0].id is missing; allowed: a value of type string'],
    ['tenants: [{id: Acme}]', 'tenants[0].id is "Acme"; allowed: 1 to 50 lower-case letters'],
    ['tenants: [{id: 7}]', 'tenants[0].id is 7; allowed: a value of type string'],
    ['tenants: [{id: a}, {id: b}, {id: a}]', 'tenants[2].id is "a"; allowed: an id that no other tenant has'],
    ['tenants: [{id: a, maxConcurrent: 0}]', 'tenants[0].maxConcurrent is 0; allowed: at least 1'],
    [
      'tenants: [{id: a, maxConcurrent: "5"}]',
      'tenants[0].maxConcurrent is "5"; allowed: a value of type number',
    ],
    ['tenants: [{id: a, limits: {memoryMb: 16}}]', 'tenants[0].limits.memoryMb is 16; allowed: at least 32'],
    ['tenants: [{id: a, maxConcurent: 5}]', 'tenants[0].maxConcurent is 5; allowed: no key of this name'],
    [
      'tenantNamespacePrefix: thirteen-char\ntenants: [{id: a}]',
      'tenantNamespacePrefix is "thirteen-char"; allowed: at most 12',
    ],
    ['instance: a_b\ntenants: [{id: a}]', 'instance is "a_b"; allowed: 1 to 63 lower-case letters'],
    [
      'platformNamespace: wormhole-run-a\ntenants: [{id: a}]',
      'tenants[0].id is "a"; allowed: an id whose namespace is not the platform\'s own',
    ],
    ['tenants: [{id: a}]\ntenants: []', 'line 2 is not readable (Map keys must be unique)'],
    ['tenants: &t [*t]', 'the file is not readable (Alias resolution is disabled)'],
    ['a: 1\n---\nb: 2', 'line 2 is not readable (Source contains multiple documents'],
    ['tenants: [', 'line 1 is not readable'],
  ])('%j is refused with key, value and what is allowed', (text, message) => {
    expect(messageOf(text)).toContain(`environments/test.yaml: ${message}`);
  });

  it('names every problem at once, but not a thousand of them', () => {
    const tenants = Array.from({ length: 1000 }, (_, index) => `{id: a${index}, maxConcurrent: 0}`).join(
      ', ',
    );
    const lines = messageOf(`tenants: [${tenants}]`).split('\n');
    expect(lines).toHaveLength(11);
    expect(lines[9]).toContain('tenants[9].maxConcurrent is 0');
    expect(lines[10]).toBe('environments/test.yaml: and 990 more');
  });

  it('is read or refused, whatever it says', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        try {
          parse(text);
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidValueError);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('cannot make a namespace that Kubernetes refuses', () => {
    const environment = parse(
      JSON.stringify({ tenantNamespacePrefix: 'p'.repeat(12), tenants: [{ id: 't'.repeat(50) }] }),
    );
    const [app] = environmentApps(environment, 'unused');
    const [namespace] = app!.charts[0]!.toJson() as { metadata: { name: string } }[];
    expect(namespace!.metadata.name).toHaveLength(63);
  });
});

describe('the committed environments', () => {
  it.each(readdirSync('environments'))('%s is valid', (file) => {
    const text = readFileSync(`environments/${file}`, 'utf8');
    expect(parseEnvironment(`environments/${file}`, text).tenants.length).toBeGreaterThan(0);
  });
});

describe('lib', () => {
  it('is pure: only main.ts meets the file system, and nothing the clock, chance or the environment', () => {
    const files = readdirSync('lib', { recursive: true, encoding: 'utf8' }).filter((file) =>
      file.endsWith('.ts'),
    );
    expect(files.length).toBeGreaterThan(10);
    const impure = files.filter(
      (file) =>
        file !== 'main.ts' &&
        /node:|\bprocess\.|\bDate\b|Math\.random|\bcrypto\b|\bfetch\(/.test(
          readFileSync(`lib/${file}`, 'utf8'),
        ),
    );
    expect(impure).toEqual([]);
  });
});
