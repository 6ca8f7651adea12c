import { z } from 'zod';
import { checked } from './checked.ts';
import { dnsLabelSchema } from './names.ts';

/** What Argo CD's projects and files of another environment may be called: `environment`, and one of these. */
const TAKEN_SUFFIXES = ['-root', '-tenants', '-applications'];
/** The folder of dist/ that Argo CD's own objects are in. */
const TAKEN = 'argocd';
const NAME_CHARACTERS = 40;
const EXTENSION = '.yaml';

const nameSchema = dnsLabelSchema
  .max(NAME_CHARACTERS)
  .refine(
    (name) => name !== TAKEN && !TAKEN_SUFFIXES.some((suffix) => name.endsWith(suffix)),
    `a name other than "${TAKEN}" that does not end in ${TAKEN_SUFFIXES.map((suffix) => `"${suffix}"`).join(' or ')}`,
  );
const fileSchema = z.strictObject({
  name: z.string().endsWith(EXTENSION, `a name that ends in "${EXTENSION}"; move other files elsewhere`),
});

/**
 * @param file the name of a file in environments/: a skipped one would be an environment that nobody gets.
 * @returns the environment's name, which is its folder in dist/ and part of the names of Argo CD's objects.
 * @throws {InvalidValueError} when it is not `<name>.yaml`, or the name is taken.
 */
export const environmentName = (file: string): string => {
  const source = `environments/${file}`;
  checked(source, fileSchema, { name: file });
  return checked(source, z.strictObject({ name: nameSchema }), { name: file.slice(0, -EXTENSION.length) })
    .name;
};
