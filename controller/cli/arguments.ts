import { InvalidArgumentError } from 'commander';
import { tenantIdSchema, type TenantId } from '../model/ids.ts';

/** Parses `--tenant`. @throws {InvalidArgumentError} for what cannot be a tenant's id. */
export function parseTenantId(text: string): TenantId {
  const result = tenantIdSchema.safeParse(text);
  if (result.success) return result.data;
  throw new InvalidArgumentError(`It ${result.error.issues[0]?.message ?? 'is wrong'}.`);
}

/** @returns a parser of whole numbers between two others, both included. */
export const parseIntegerBetween =
  (least: number, most: number) =>
  (text: string): number => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
  };
