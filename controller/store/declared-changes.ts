import { isDeepStrictEqual } from 'node:util';
import type { TenantId } from '../model/ids.ts';
import type { Tenant } from '../model/tenant.ts';
import type { PlatformLimits } from './tenants.ts';

/** A setting that is declared otherwise than it is in force. */
export interface SettingChange {
  readonly setting: string;
  readonly from: unknown;
  readonly to: unknown;
}

/** What applying a declaration changes. */
export interface DeclaredChanges {
  readonly platform: readonly SettingChange[];
  readonly added: readonly Tenant[];
  readonly changed: readonly { readonly tenant: Tenant; readonly settings: readonly SettingChange[] }[];
  readonly unchanged: readonly TenantId[];
  /** In force and not declared (any more): these stay as they are. */
  readonly undeclared: readonly TenantId[];
}

/** What a declared file says that a running platform can follow. */
export interface Declared {
  readonly tenants: readonly Tenant[];
  readonly limits: PlatformLimits;
}

/** @returns what it takes to get from what is in force to what is declared. Pure. */
export function declaredChanges(declared: Declared, inForce: Declared): DeclaredChanges {
  const existing = new Map(inForce.tenants.map((tenant) => [tenant.id, tenant]));
  const ids = new Set(declared.tenants.map(({ id }) => id));
  const compared = declared.tenants.map((tenant) => {
    const before = existing.get(tenant.id);
    return { tenant, before, settings: before === undefined ? [] : settingChanges(before, tenant) };
  });
  return {
    platform: settingChanges(inForce.limits, declared.limits),
    added: compared.filter(({ before }) => before === undefined).map(({ tenant }) => tenant),
    changed: compared
      .filter(({ settings }) => settings.length > 0)
      .map(({ tenant, settings }) => ({ tenant, settings })),
    unchanged: compared
      .filter(({ before, settings }) => before !== undefined && settings.length === 0)
      .map(({ tenant }) => tenant.id),
    undeclared: inForce.tenants.map(({ id }) => id).filter((id) => !ids.has(id)),
  };
}

function settingChanges(from: object, to: object): SettingChange[] {
  const before = new Map<string, unknown>(Object.entries(from));
  const after = new Map<string, unknown>(Object.entries(to));
  return [...new Set([...before.keys(), ...after.keys()])]
    .filter((setting) => !isDeepStrictEqual(before.get(setting), after.get(setting)))
    .map((setting) => ({ setting, from: before.get(setting), to: after.get(setting) }));
}
