import { setTimeout as delay } from 'node:timers/promises';
import Dockerode from 'dockerode';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { Watchdog } from '../../../controller/watchdog/watchdog.ts';
import { ScriptedEngine } from '../../support/scripted-engine.ts';

test('an engine that does not come back is waited for while the controller lives, and then not for ever', async () => {
  const released = new AbortController();
  let over = false;
  const running = new Watchdog({
    docker: new Dockerode({ socketPath: '/nonexistent/docker.sock', host: undefined }),
    instance: 'main',
    graceMs: 0,
    enginePatienceMs: 200,
    released: released.signal,
    log: pino({ level: 'silent' }),
  })
    .run()
    .then(() => (over = true));
  await delay(600);
  expect(over).toBe(false);
  released.abort();
  await running;
});

test('a container that started while the engine was listing the others is watched, and waited for', async () => {
  const deadlineMs = Date.now() + 500;
  const engine = await ScriptedEngine.start({ 'wormhole.dev/deadline': String(deadlineMs) });
  const sendListing = engine.holdListings();
  const running = new Watchdog({
    docker: engine.docker,
    instance: 'main',
    graceMs: 0,
    released: AbortSignal.abort(),
    log: pino({ level: 'silent' }),
  }).run();
  await expect.poll(() => engine.listings).toBe(1);
  engine.containers = [{ Id: 'c1', State: 'running' }];
  engine.tell('start', 'c1');
  await delay(50);
  sendListing();
  await running;
  expect(engine.killed).toEqual(['c1']);
  expect(Date.now()).toBeGreaterThanOrEqual(deadlineMs);
});
