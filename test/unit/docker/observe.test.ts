import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { identityLabels } from '../../../controller/backends/docker/container-spec.ts';
import { observeContainers } from '../../../controller/backends/docker/observe.ts';
import { newAttempt } from '../../support/attempts.ts';
import { Observations } from '../../support/observations.ts';
import { ScriptedEngine } from '../../support/scripted-engine.ts';

const spec = newAttempt();
const labels = { ...identityLabels('main', spec), 'wormhole.dev/tenant-id': 'acme' };

async function observe(relistMs: number): Promise<{ engine: ScriptedEngine; observations: Observations }> {
  const engine = await ScriptedEngine.start(labels);
  return { engine, observations: listenTo(engine, relistMs) };
}

function listenTo({ docker }: ScriptedEngine, relistMs: number): Observations {
  const options = { docker, instance: 'main', relistMs, log: pino({ level: 'silent' }) };
  const observations = new Observations({ observe: (signal) => observeContainers(options, signal) });
  onTestFinished(() => observations.stop());
  return observations;
}

const endsOf = (observations: Observations): unknown[] =>
  observations.all.flatMap((o) => (o.kind === 'ended' ? [o.exit.kind] : []));

test('a container that vanishes without a word is lost', async () => {
  const { engine, observations } = await observe(200);
  engine.containers = [{ Id: 'c1', State: 'running' }];
  await observations.of('started', spec);
  engine.containers = [];
  expect((await observations.of('ended', spec)).exit).toMatchObject({ kind: 'lost', exitCode: null });
  await delay(500);
  expect(endsOf(observations)).toEqual(['lost']);
});

test('a container that is destroyed without having died is lost', async () => {
  const { engine, observations } = await observe(60_000);
  engine.containers = [{ Id: 'c1', State: 'running' }];
  await observations.of('started', spec);
  engine.tell('destroy', 'c1');
  expect((await observations.of('ended', spec)).exit.kind).toBe('lost');
});

test('a container that started while the engine was listing the others is not lost', async () => {
  const engine = await ScriptedEngine.start(labels);
  const sendListing = engine.holdListings();
  const observations = listenTo(engine, 60_000);
  await expect.poll(() => engine.listings).toBe(1);
  engine.containers = [{ Id: 'c1', State: 'running' }];
  engine.tell('start', 'c1');
  await observations.of('started', spec);
  sendListing();
  await expect.poll(() => engine.inspections).toBe(1);
  engine.containers = [{ Id: 'c1', State: 'exited', exitCode: 7 }];
  engine.tell('die', 'c1', { exitCode: '7' });
  expect((await observations.of('ended', spec)).exit).toMatchObject({ kind: 'exited', exitCode: 7 });
  expect(endsOf(observations)).toEqual(['exited']);
});

test('a container that is not listed and yet can be inspected ended as the inspection says', async () => {
  const engine = await ScriptedEngine.start(labels);
  const sendListing = engine.holdListings();
  const observations = listenTo(engine, 60_000);
  await expect.poll(() => engine.listings).toBe(1);
  engine.tell('start', 'c1');
  await observations.of('started', spec);
  engine.containers = [{ Id: 'c1', State: 'exited', exitCode: 7 }];
  sendListing();
  expect((await observations.of('ended', spec)).exit).toMatchObject({ kind: 'exited', exitCode: 7 });
});

test('a container is not lost because the engine fails to inspect it', async () => {
  const { engine, observations } = await observe(200);
  engine.containers = [{ Id: 'c1', State: 'running' }];
  await observations.of('started', spec);
  engine.inspectFails = true;
  engine.containers = [];
  await expect.poll(() => engine.inspections).toBeGreaterThan(2);
  expect(endsOf(observations)).toEqual([]);
  engine.inspectFails = false;
  expect((await observations.of('ended', spec)).exit.kind).toBe('lost');
});

test('the end of a container that is gone before it can be inspected is what the event says', async () => {
  const { engine, observations } = await observe(60_000);
  await expect.poll(() => engine.streams.size).toBe(1);
  engine.tell('start', 'c1');
  engine.tell('oom', 'c1');
  engine.tell('die', 'c1', { exitCode: '137' });
  engine.tell('destroy', 'c1');
  const { exit } = await observations.of('ended', spec);
  expect(exit).toMatchObject({ kind: 'exited', exitCode: 137, oomKilled: true });
  await delay(100);
  expect(endsOf(observations)).toEqual(['exited']);
});

test('a container that was created and removed, and never ran, is not observed', async () => {
  const { engine, observations } = await observe(100);
  engine.containers = [{ Id: 'c1', State: 'created' }];
  await expect.poll(() => engine.connections).toBeGreaterThan(1);
  engine.tell('destroy', 'c1');
  engine.containers = [];
  await delay(300);
  expect(observations.all).toEqual([]);
});

test('a stream that stays silent delays an observation by no more than the time to the next listing', async () => {
  const { engine, observations } = await observe(500);
  engine.containers = [{ Id: 'c1', State: 'running' }];
  await observations.of('started', spec);
  engine.containers = [{ Id: 'c1', State: 'exited', exitCode: 7 }];
  expect((await observations.of('ended', spec, 2000)).exit).toMatchObject({
    kind: 'exited',
    exitCode: 7,
  });
});

test('an engine that breaks off is asked again, not without pause, and what happened meanwhile is observed', async () => {
  const { engine, observations } = await observe(60_000);
  engine.containers = [{ Id: 'c1', State: 'running' }];
  await observations.of('started', spec);
  engine.refuse = true;
  for (const stream of engine.streams) stream.socket?.destroy();
  await delay(1000);
  expect(endsOf(observations)).toEqual([]);
  engine.containers = [{ Id: 'c1', State: 'exited', exitCode: 0 }];
  engine.refuse = false;
  await observations.of('ended', spec);
  expect(engine.connections).toBe(2);
});

test('a stream that the engine ends at once is not asked for in a tight loop', async () => {
  const { engine } = await observe(60_000);
  const ending = setInterval(() => engine.streams.forEach((stream) => stream.end()), 5);
  onTestFinished(() => clearInterval(ending));
  await delay(1500);
  expect(engine.connections).toBeGreaterThan(1);
  expect(engine.connections).toBeLessThan(20);
});

test('a stream of events that breaks off in mid-line is connected again', async () => {
  const { engine, observations } = await observe(60_000);
  await expect.poll(() => engine.streams.size).toBe(1);
  for (const stream of engine.streams) stream.end('{"Action":"start","Actor":{"ID":"c');
  await expect.poll(() => engine.connections).toBe(2);
  await expect.poll(() => engine.streams.size).toBe(1);
  engine.tell('start', 'c1');
  await observations.of('started', spec);
});
