import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { json, text } from 'node:stream/consumers';
import { ensurePythonEnv } from '../../scripts/python-env.mjs';
import type { KubernetesObject } from './api-server.ts';

/** The oldest and the newest Kubernetes that are supported. */
export const VERSIONS = ['1.30', '1.36'];

/** An object, and what a problem with it names. */
export interface Sourced {
  readonly source: string;
  readonly object: KubernetesObject;
}

/**
 * Checks against Kubernetes' own schemas, which know every field and no other, without a network.
 * @returns what is wrong, each with its source, version and field.
 */
export const schemaProblems = async (objects: readonly Sourced[], versions = VERSIONS): Promise<string[]> => {
  const { python } = await ensurePythonEnv((line) => console.log(line));
  const checker = spawn(python, ['-I', join(import.meta.dirname, 'schemas.py'), ...versions]);
  checker.stdin.end(JSON.stringify(objects));
  const [problems, errors] = await Promise.all([
    json(checker.stdout).catch(() => null) as Promise<string[] | null>,
    text(checker.stderr),
  ]);
  if (problems === null) throw new Error(`the schemas could not be checked: ${errors}`);
  return problems;
};
