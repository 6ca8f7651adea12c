import { setTimeout as delay } from 'node:timers/promises';
import Dockerode from 'dockerode';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { Watchdog } from '../../../controller/watchdog/watchdog.ts';

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
