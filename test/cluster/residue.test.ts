import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { spawnCluster, type SpawnedCluster } from '../support/cluster/spawned-cluster.ts';
import { until } from '../support/cluster/until.ts';
import { processesOf } from '../support/run-folder.ts';
import { cluster, describeWith, root } from '../support/requires.ts';

const run = promisify(execFile);
const GONE_MS = 10_000;

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
    processes: (await processesOf(`${folder}/`)).map(({ command }) => command.slice(0, 80)),
    interface: networkInterfaces()[name] !== undefined,
    mounts: readFileSync('/proc/self/mounts', 'utf8').includes(`${folder}/`),
    routes: (await run('ip', ['route'])).stdout.includes(`dev ${name} `),
  };
}

const NOTHING = { processes: [], interface: false, mounts: false, routes: false };
const cgroupsOf = (folder: string): string[] =>
  readdirSync('/sys/fs/cgroup', { withFileTypes: true })
    .map((entry) => `/sys/fs/cgroup/${entry.name}/wormhole${folder.split('/').at(-1) ?? ''}`)
    .filter(existsSync);

describeWith('a cluster', root, () => {
  // A machine that has one for the tests can have another.
  describeWith('of its own process', cluster, () => {
    const start = async (): Promise<SpawnedCluster & { folder: string }> => {
      const spawned = await spawnCluster([], () => undefined);
      if ('missing' in spawned) throw new Error(spawned.missing);
      return { ...spawned.value, folder: dirname(spawned.value.facts.kubeconfig) };
    };

    test('leaves nothing when it is stopped, and nothing that runs when its owner is killed', async () => {
      const before = await machine();
      const killed = await start();
      expect(await remains(killed.folder)).not.toMatchObject(NOTHING);
      expect(await machine()).toEqual(before);

      process.kill(killed.pid, 'SIGKILL');
      await until('the end of everything', GONE_MS, async () => {
        expect(await remains(killed.folder)).toEqual(NOTHING);
      });
      expect(await machine()).toEqual(before);

      // Takes the place of the killed one, after clearing it.
      const stopped = await start();
      expect(stopped.folder).toBe(killed.folder);
      await stopped.stop();
      expect(await remains(stopped.folder)).toEqual(NOTHING);
      expect(cgroupsOf(stopped.folder)).toEqual([]);
      expect(existsSync(stopped.folder)).toBe(false);
      expect(await machine()).toEqual(before);
    });
  });
});
