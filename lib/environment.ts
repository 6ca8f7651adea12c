import { parseDocument } from 'yaml';
import { z } from 'zod';
import { checked } from './checked.ts';
import { InvalidValueError } from './errors.ts';
import { dnsLabelSchema, tenantIdSchema } from './names.ts';
import { runSizeSchema } from './run-size.ts';

/** 12 characters of prefix, "-" and 50 of a tenant's id are the 63 of a namespace. */
const PREFIX_CHARACTERS = 12;

const tenantSchema = z.strictObject({
  id: tenantIdSchema,
  maxConcurrent: z.int().min(1).max(100_000).default(5),
  limits: runSizeSchema,
});

const environmentSchema = z
  .strictObject({
    instance: dnsLabelSchema.default('wormhole'),
    platformNamespace: dnsLabelSchema.default('wormhole-system'),
    tenantNamespacePrefix: dnsLabelSchema.max(PREFIX_CHARACTERS).default('wormhole-run'),
    tenants: z.array(tenantSchema).min(1).max(10_000),
  })
  .superRefine(({ tenants, tenantNamespacePrefix, platformNamespace }, context) => {
    const seen = new Set<string>();
    tenants.forEach(({ id }, index) => {
      const problem = (message: string): void =>
        context.addIssue({ code: 'custom', path: ['tenants', index, 'id'], input: id, message });
      if (seen.has(id)) problem('an id that no other tenant has');
      if (`${tenantNamespacePrefix}-${id}` === platformNamespace) {
        problem(`an id whose namespace is not the platform's own, "${platformNamespace}"`);
      }
      seen.add(id);
    });
  });

/** One cluster's platform, as declared: where it is, its tenants, their caps and the size of their runs. */
export type Environment = z.output<typeof environmentSchema>;
export type EnvironmentTenant = Environment['tenants'][number];

const contentOf = (source: string, text: string): unknown => {
  const unreadable = (key: string, message: string): InvalidValueError =>
    new InvalidValueError(source, [
      { key, value: `not readable (${message})`, allowed: 'one plain YAML document' },
    ]);
  const document = parseDocument(text, { prettyErrors: false });
  const [error] = [...document.errors, ...document.warnings];
  if (error) throw unreadable(`line ${text.slice(0, error.pos[0]).split('\n').length}`, error.message);
  try {
    return document.toJS({ maxAliasCount: 0 });
  } catch (aliases) {
    throw unreadable('the file', aliases instanceof Error ? aliases.message : String(aliases));
  }
};

/**
 * @param source what messages name, e.g. `environments/dev.yaml`.
 * @param text YAML 1.2: one document, no aliases.
 * @returns the environment with its defaults filled in.
 * @throws {InvalidValueError} with every problem: key, value and what is allowed.
 */
export const parseEnvironment = (source: string, text: string): Environment =>
  checked(source, environmentSchema, contentOf(source, text));
