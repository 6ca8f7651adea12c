import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { startWatchdog, type WatchdogProcess } from '../../controller/watchdog/spawn.ts';
import { newAttempt, newInstance } from '../support/attempts.ts';
import { dockerBackend, type DockerBackendUnderTest } from '../support/docker-backend.ts';
import { docker } from '../support/docker.ts';
import { Observations } from '../support/observations.ts';
import { probeImage } from '../support/probe-image.ts';
import { describeWith } from '../support/requires.ts';

const DEAF = "trap '' TERM; while :; do sleep 1; done";
const SPAWN = join(import.meta.dirname, '../../controller/watchdog/spawn.ts');

describeWith('the watchdog', docker, (engine) => {
  const dockerSocket = (engine.modem as { socketPath?: string }).socketPath!;

  async function make(script = DEAF): Promise<{ made: DockerBackendUnderTest; observations: Observations }> {
    const made = await dockerBackend(engine, { image: await probeImage(engine, script) });
    onTestFinished(() => made.dispose());
    const observations = new Observations(made.backend);
    onTestFinished(() => observations.stop());
    return { made, observations };
  }

  function watch(instance: string, graceMs: number): WatchdogProcess {
    const watchdog = startWatchdog({ dockerSocket, instance, graceMs });
    onTestFinished(() => watchdog.stop());
    return watchdog;
  }

  test('a container past its deadline is killed, after the grace and not before; others are left alone', async () => {
    const { made, observations } = await make();
    watch(made.instance, 1000);
    const deadlineAt = new Date(Date.now() + 2000);
    const [late, patient] = [newAttempt({ deadlineInMs: 2000 }), newAttempt()];
    await made.backend.start(late);
    await made.backend.start(patient);
    const { exit } = await observations.of('ended', late);
    expect(exit).toMatchObject({ kind: 'exited', exitCode: 137, oomKilled: false });
    const overdueMs = exit.at.getTime() - deadlineAt.getTime();
    expect(overdueMs).toBeGreaterThanOrEqual(1000);
    expect(overdueMs).toBeLessThan(3000);
    expect((await made.backend.list()).find((a) => a.runId === patient.runId)).toMatchObject({
      state: 'running',
    });
  });

  test('a container that was overdue before the watchdog came is killed; that of another instance is not', async () => {
    const [{ made, observations }, other] = [await make(), await make()];
    const spec = newAttempt({ deadlineInMs: -60_000 });
    await made.backend.start(spec);
    await other.made.backend.start(spec);
    watch(made.instance, 0);
    expect((await observations.of('ended', spec)).exit.exitCode).toBe(137);
    expect(await other.made.backend.list()).toMatchObject([{ state: 'running' }]);
  });

  test('with the controller killed, the deadline holds, and then the watchdog is gone too', async () => {
    const { made, observations } = await make();
    const options = JSON.stringify({ dockerSocket, instance: made.instance, graceMs: 500 });
    // A process that does what the controller does with its watchdog.
    const controller = spawn(
      process.execPath,
      [
        '--input-type=module',
        '--eval',
        `const { startWatchdog } = await import(${JSON.stringify(SPAWN)});
         console.log(startWatchdog(${options}).pid);
         setInterval(() => {}, 1000);`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    onTestFinished(() => void controller.kill('SIGKILL'));
    const [line] = (await once(createInterface({ input: controller.stdout }), 'line')) as [string];
    const watchdogPid = Number(line);
    onTestFinished(() => endIfAlive(watchdogPid));
    const deadlineAt = new Date(Date.now() + 4000);
    const spec = newAttempt({ deadlineInMs: 4000 });
    await made.backend.start(spec);
    await observations.of('started', spec);

    controller.kill('SIGKILL');
    await once(controller, 'exit');
    await delay(1500);
    expect(isAlive(watchdogPid)).toBe(true);
    expect(await made.backend.list()).toMatchObject([{ state: 'running' }]);

    const { exit } = await observations.of('ended', spec);
    expect(exit.exitCode).toBe(137);
    expect(exit.at.getTime() - deadlineAt.getTime()).toBeLessThan(2500);
    await expect.poll(() => isAlive(watchdogPid), { timeout: 5000 }).toBe(false);
  });

  test('with the controller gone and nothing alive it ends by itself', async () => {
    const child = spawn(
      process.execPath,
      [
        join(SPAWN, '../main.ts'),
        ...['--docker-socket', dockerSocket, '--instance', newInstance(), '--grace-ms', '0'],
      ],
      { stdio: ['pipe', 'ignore', 'inherit'] },
    );
    onTestFinished(() => void child.kill('SIGKILL'));
    child.stdin.end();
    expect(await once(child, 'exit')).toEqual([0, null]);
  });

  test('told to stop it ends at once, whatever is alive', async () => {
    const { made } = await make();
    await made.backend.start(newAttempt());
    const watchdog = watch(made.instance, 0);
    const { pid } = watchdog;
    await watchdog.stop();
    await watchdog.stop();
    expect(isAlive(pid!)).toBe(false);
    expect(watchdog.pid).toBeUndefined();
    expect(await made.backend.list()).toMatchObject([{ state: 'running' }]);
  });

  test('a watchdog that dies is started again', async () => {
    const { made, observations } = await make();
    const watchdog = watch(made.instance, 0);
    const first = watchdog.pid!;
    process.kill(first, 'SIGKILL');
    await expect
      .poll(() => watchdog.pid !== undefined && watchdog.pid !== first, { timeout: 10_000 })
      .toBe(true);
    const spec = newAttempt({ deadlineInMs: 0 });
    await made.backend.start(spec);
    expect((await observations.of('ended', spec)).exit.exitCode).toBe(137);
  });

  test.each([[[]], [['--instance', 'x', '--docker-socket', '/x', '--grace-ms', 'soon']]])(
    'started with %j it says what it needs',
    async (args: string[]) => {
      const child = spawn(process.execPath, [join(SPAWN, '../main.ts'), ...args], { stdio: 'ignore' });
      expect(await once(child, 'exit')).toEqual([2, null]);
    },
  );
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

function endIfAlive(pid: number): void {
  if (isAlive(pid)) process.kill(pid, 'SIGKILL');
}
