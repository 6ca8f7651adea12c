import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { expect, onTestFinished, test } from 'vitest';
import { Leadership } from '../../../controller/dispatch/leadership.ts';
import { cloneDatabase } from '../../support/database.ts';

const database = cloneDatabase();

/** What `LeadershipOptions` has for someone who only waits. */
const quiet = { onWait: () => undefined, onInterrupted: () => undefined, onLost: () => undefined };

/** A process that takes the lead, and says when it has it and when it lost it. */
function leader(databaseUrl: string, instance: string) {
  const module = new URL('../../../controller/dispatch/leadership.ts', import.meta.url).href;
  const script = `
    const { Leadership } = await import(${JSON.stringify(module)});
    const [databaseUrl, instance] = process.argv.slice(1);
    await Leadership.acquire({ databaseUrl, instance, signal: new AbortController().signal,
      onWait() {}, onInterrupted() {}, onLost() { console.log('lost'); process.exit(); } });
    console.log('leads');
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, databaseUrl, instance], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  return { child, says: async () => (await lines.next()).value };
}

/** Takes the lead here. @returns after how long, in ms. */
async function takeOver(databaseUrl: string, instance: string): Promise<number> {
  const from = performance.now();
  const signal = AbortSignal.timeout(20_000);
  const leadership = await Leadership.acquire({ databaseUrl, instance, signal, ...quiet });
  onTestFinished(() => leadership.release());
  return performance.now() - from;
}

test('a standby leads within five seconds of a kill', async () => {
  const { url } = await database;
  const { child, says } = leader(url, 'killed');
  expect(await says()).toBe('leads');
  const standby = takeOver(url, 'killed');
  child.kill('SIGKILL');
  expect(await standby).toBeLessThan(5_000);
});

test('a leader that is frozen loses its lead, and knows it when it goes on', async () => {
  const { url } = await database;
  const { child, says } = leader(url, 'frozen');
  expect(await says()).toBe('leads');
  child.kill('SIGSTOP');
  expect(await takeOver(url, 'frozen')).toBeLessThan(8_000);
  child.kill('SIGCONT');
  expect(await says()).toBe('lost');
});

test('a leader that is only quiet keeps its lead', async () => {
  const { url } = await database;
  const { says } = leader(url, 'quiet');
  expect(await says()).toBe('leads');
  const signal = AbortSignal.timeout(7_000);
  await expect(
    Leadership.acquire({ databaseUrl: url, instance: 'quiet', signal, ...quiet }),
  ).rejects.toThrow();
});

test('leads of different instances are not in each other’s way', async () => {
  const { url } = await database;
  const { says } = leader(url, 'one');
  expect(await says()).toBe('leads');
  expect(await takeOver(url, 'other')).toBeLessThan(5_000);
});
