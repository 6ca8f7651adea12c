import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { z } from 'zod';

const project = join(import.meta.dirname, '../../..');
const packageSchema = z.object({
  resolved: z.string().optional(),
  integrity: z.string().optional(),
  inBundle: z.boolean().default(false),
});
const lockSchema = z.object({ packages: z.record(z.string(), packageSchema) });

test('package-lock.json names no registry, and pins every package by its hash', async () => {
  const { packages } = lockSchema.parse(
    JSON.parse(await readFile(join(project, 'package-lock.json'), 'utf8')),
  );
  // A bundled package is part of another one, and of its hash.
  const installed = Object.entries(packages).filter(([path, { inBundle }]) => path !== '' && !inBundle);
  expect(installed.length).toBeGreaterThan(100);
  expect(installed.filter(([, { resolved }]) => resolved !== undefined)).toEqual([]);
  expect(installed.filter(([, { integrity }]) => integrity?.startsWith('sha512-') !== true)).toEqual([]);
});

test('no file that pins packages names a host of a registry', async () => {
  for (const file of ['.npmrc', 'runner/requirements.lock', 'runner/requirements-dev.lock']) {
    expect(await readFile(join(project, file), 'utf8')).not.toMatch(/https?:\/\//);
  }
});
