import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { PAUSE_IMAGE } from '../support/cluster/pause-image.ts';
import { spawnCluster, type SpawnedCluster } from '../support/cluster/spawned-cluster.ts';
import { until } from '../support/cluster/until.ts';
import { processesOf } from '../support/run-folder.ts';
import { cluster, describeWith, root } from '../support/requires.ts';

const run = promisify(execFile);
const GONE_MS = 10_000;
/** Two starts and two ends, on a machine that is busy with other tests. */
const TEST_MS = 180_000;

/** What a node could change of the whole machine. */
async function machine(): Promise<object> {
  const read = (path: string): string | null => (existsSync(path) ? readFileSync(path, 'utf8') : null);
  const settings = ['vm/overcommit_memory', 'kernel/panic', 'kernel/panic_on_oops', 'net/ipv4/ip_forward'];
  return {
    settings: settings.map((name) => `${name} = ${read(`/proc/sys/${name}`) ?? ''}`),
    rules: (await run('nft', ['list', 'ruleset'])).stdout,
    sets: (await run('ipset', ['list', '-n'])).stdout,
    folders: ['/var/lib/kubelet', '/var/lib/cni', '/var/log/pods', '/run/netns', '/opt/containerd'].filter(
      existsSync,
    ),
  };
}

/** What is there of one cluster. */
async function remains(folder: string): Promise<object> {
  const name = `wormhole${folder.split('/').at(-1) ?? ''}`;
  return {
    inCgroups: cgroupsOf(folder).flatMap((cgroup) => processesIn(cgroup)),
    processes: (await processesOf(`${folder}/`)).map(({ command }) => command.slice(0, 80)),
    interface: networkInterfaces()[name] !== undefined,
    mounts: readFileSync('/proc/self/mounts', 'utf8').includes(`${folder}/`),
    routes: (await run('ip', ['route'])).stdout.includes(`dev ${name} `),
  };
}

const NOTHING = { inCgroups: [], processes: [], interface: false, mounts: false, routes: false };
/** In every hierarchy: with version 2 of cgroups there is one, with version 1 one for each controller. */
function cgroupsOf(folder: string): string[] {
  const base = '/sys/fs/cgroup';
  return [base, ...readdirSync(base).map((name) => join(base, name))]
    .map((hierarchy) => join(hierarchy, `wormhole${folder.split('/').at(-1) ?? ''}`))
    .filter(existsSync);
}

/** A cgroup and those below it. */
function processesIn(cgroup: string): string[] {
  const below = readdirSync(cgroup, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const own = readFileSync(join(cgroup, 'cgroup.procs'), 'utf8')
    .split('\n')
    .filter((pid) => pid !== '');
  return [...own, ...below.flatMap((entry) => processesIn(join(cgroup, entry.name)))];
}

/** Every node has its sandbox image, which does nothing for ever. */
async function runPod(kubectl: readonly string[]): Promise<void> {
  const [program = '', ...args] = kubectl;
  const create = ['run', 'pod', `--image=${PAUSE_IMAGE}`, '--image-pull-policy=Never'];
  await run(program, [...args, ...create]);
  await run(program, [...args, 'wait', '--for=condition=Ready', 'pod/pod', '--timeout=30s']);
}

describeWith('a cluster', root, () => {
  // A machine that has one for the tests can have another.
  describeWith('of its own process', cluster, () => {
    const start = async (): Promise<SpawnedCluster & { folder: string }> => {
      const spawned = await spawnCluster([], () => undefined);
      if ('missing' in spawned) throw new Error(spawned.missing);
      return { ...spawned.value, folder: dirname(spawned.value.facts.kubeconfig) };
    };

    test(
      'leaves nothing when it is stopped, and nothing that runs when its owner is killed',
      async () => {
        const before = await machine();
        const killed = await start();
        await runPod(killed.facts.kubectl);
        const alive = await remains(killed.folder);
        for (const [what, none] of Object.entries(NOTHING)) {
          // Mounts are in the node's namespace from the beginning.
          if (what !== 'mounts') expect(alive, what).not.toHaveProperty(what, none);
        }
        expect(await machine()).toEqual(before);

        process.kill(killed.pid, 'SIGKILL');
        await until('the end of everything', GONE_MS, async () => {
          expect(await remains(killed.folder)).toEqual(NOTHING);
        });
        expect(await machine()).toEqual(before);

        const marker = join(killed.folder, 'marker');
        await writeFile(marker, '');
        // The next one clears what the killed one left.
        const stopped = await start();
        expect(existsSync(marker)).toBe(false);
        await runPod(stopped.facts.kubectl);
        await stopped.stop();
        expect(await remains(stopped.folder)).toEqual(NOTHING);
        expect(cgroupsOf(stopped.folder)).toEqual([]);
        expect(existsSync(stopped.folder)).toBe(false);
        expect(await machine()).toEqual(before);
      },
      TEST_MS,
    );
  });
});
