import { expect, test } from 'vitest';
import { findDemoFolders } from '../../controller/demo/demo-folder.ts';
import { findLeftovers } from '../../controller/demo/leftovers.ts';
import { SCENARIOS } from '../../controller/demo/scenarios.ts';
import { Demo, DEMO_MS, type DemoEvent } from '../support/demo-process.ts';
import { dockerWithRunnerImage } from '../support/docker.ts';
import { describeWith } from '../support/requires.ts';

const isRunning = ({ type, status }: DemoEvent): boolean => type === 'status' && status === 'RUNNING';

describeWith('the demo', dockerWithRunnerImage, (engine) => {
  /** The demos of others may go on meanwhile: only what came up since counts. */
  async function leftSince(before: readonly string[]): Promise<unknown[]> {
    const folders = (await findDemoFolders()).filter(({ path, isLive }) => !before.includes(path) && !isLive);
    const left = await Promise.all(folders.map((folder) => findLeftovers(engine, folder)));
    return [
      ...folders.map(({ path }) => path),
      ...left.flatMap(({ containers, processes }) => [...containers, ...processes]),
    ];
  }

  const folderPaths = async (): Promise<string[]> => (await findDemoFolders()).map(({ path }) => path);

  test(
    'ends with exit code 0 and every run as it should, and leaves nothing',
    async () => {
      const before = await folderPaths();
      const demo = new Demo(engine);
      const { exitCode, stderr } = await demo.ended();
      const summary = demo.events.at(-1);
      expect(summary?.runs?.flatMap(({ differences }) => differences)).toEqual([]);
      expect(summary?.checks?.filter(({ isGood }) => !isGood)).toEqual([]);
      expect(summary).toMatchObject({ type: 'summary', isGood: true });
      expect(summary?.runs).toHaveLength(SCENARIOS.length);
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
      const containers = summary?.runs?.map(({ containerId }) => containerId);
      expect(new Set(containers).size).toBe(SCENARIOS.length);
      expect(await leftSince(before)).toEqual([]);
    },
    DEMO_MS,
  );

  test.each([
    ['while it starts', ({ type }: DemoEvent) => type === 'step'],
    ['while runs are live', isRunning],
  ])(
    'interrupted %s ends with exit code 130 and leaves nothing',
    async (_when, moment) => {
      const before = await folderPaths();
      const demo = new Demo(engine);
      await demo.until(moment);
      demo.signal('SIGINT');
      expect((await demo.ended()).exitCode).toBe(130);
      expect(demo.events.at(-1)?.type).not.toBe('summary');
      expect(await leftSince(before)).toEqual([]);
    },
    DEMO_MS,
  );

  test(
    'that was killed is cleaned up by the next one',
    async () => {
      const before = await folderPaths();
      const killed = new Demo(engine);
      await killed.until(isRunning);
      const [folder] = (await findDemoFolders()).filter(({ path }) => !before.includes(path));
      if (folder === undefined) throw new Error('the demo has no folder');
      const { pid } = folder;
      process.kill(pid!, 'SIGKILL');
      await killed.ended();
      const left = await findLeftovers(engine, folder);
      expect(left.processes.length).toBeGreaterThan(0);

      const next = new Demo(engine);
      await next.until(({ type }) => type === 'ready');
      next.signal('SIGINT');
      await next.ended();
      expect(await findLeftovers(engine, folder)).toEqual({ containers: [], processes: [] });
      expect(await folderPaths()).not.toContain(folder.path);
      expect(await leftSince(before)).toEqual([]);
    },
    DEMO_MS,
  );
});
