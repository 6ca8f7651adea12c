import { z } from 'zod';

const NAME = '[a-z0-9](?:[-a-z0-9._]*[a-z0-9])?(?::[0-9]{1,5})?(?:/[a-z0-9](?:[-a-z0-9._]*[a-z0-9])?)*';
const TAG = ':[A-Za-z0-9_][-A-Za-z0-9_.]{0,127}';
const DIGEST = '@sha256:[0-9a-f]{64}';

const byDigest = new RegExp(`^${NAME}(?:${TAG})?${DIGEST}$`);
const byTag = new RegExp(`^${NAME}(?::(?!latest$)${TAG.slice(1)}|(?:${TAG})?${DIGEST})$`);

/**
 * An image reference. A digest says what runs; a tag says what somebody pushed last.
 * https://github.com/distribution/reference
 * @param allowTag whether `name:tag` is allowed too; `latest` never is.
 */
export const imageSchema = (allowTag: boolean): z.ZodString =>
  z
    .string()
    .max(512, 'at most 512 characters')
    .regex(
      allowTag ? byTag : byDigest,
      allowTag
        ? '"name:tag" with a tag other than "latest", or "name@sha256:<64 hexadecimal digits>"'
        : '"name@sha256:<64 hexadecimal digits>" (allowImageTag permits a tag)',
    );

/** Refuses an image that `imageSchema` does not take: for schemas in which `allowImageTag` stands beside it. */
export const refuseImage = (
  context: z.RefinementCtx,
  path: (string | number)[],
  image: string,
  allowTag: boolean,
): void => {
  const result = imageSchema(allowTag).safeParse(image);
  result.error?.issues.forEach(({ message }) => {
    context.addIssue({ code: 'custom', path, input: image, message });
  });
};
