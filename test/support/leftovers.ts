import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { LABELS, MANAGED_BY } from '../../controller/model/labels.ts';
import { openEngine } from './docker.ts';
import { endProcess, processesOf } from './run-folder.ts';

/** What programs that tests run keep for the next time. */
const CACHES = /^(?:node-compile-cache|go-build.*)$/;
/** Vitest's own processes, by what they call themselves. */
const TEST_RUNNER = /^vitest|vitest\/dist\/workers/;

/**
 * Ends the processes and removes the containers that the tests of a run left. The run's folder goes anyway.
 * @returns what there was, files in the folder for temporary files included, a line each.
 */
export async function removeLeftovers(folder: string, dockerHost: string | undefined): Promise<string[]> {
  const temporary = join(folder, 'tmp');
  const [containers, processes, files] = [
    dockerHost === undefined ? [] : await removeContainers(folder, dockerHost),
    (await processesOf(temporary)).filter(({ command }) => !TEST_RUNNER.test(command)),
    (await readdir(temporary)).filter((name) => !CACHES.test(name)),
  ];
  for (const { pid } of processes) endProcess(pid);
  return [
    ...containers.map((name) => `container ${name}`),
    ...processes.map(({ pid, command }) => `process ${pid}: ${command.slice(0, 200)}`),
    ...files.map((name) => `temporary file ${name}`),
  ];
}

/** Every container of a run mounts its socket folder, and a test's lies in the run's folder. */
async function removeContainers(folder: string, dockerHost: string): Promise<string[]> {
  const engine = openEngine(dockerHost);
  const ours = await engine.listContainers({
    all: true,
    filters: { label: [`${LABELS.managedBy}=${MANAGED_BY}`] },
  });
  const left = ours.filter(({ Mounts }) => Mounts.some(({ Source }) => Source.startsWith(`${folder}/`)));
  await Promise.all(left.map(({ Id }) => engine.getContainer(Id).remove({ force: true, v: true })));
  return left.flatMap(({ Names, Id }) => Names[0] ?? Id);
}
