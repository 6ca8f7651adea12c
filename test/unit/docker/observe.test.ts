import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import Dockerode from 'dockerode';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { identityLabels } from '../../../controller/backends/docker/container-spec.ts';
import { observeContainers } from '../../../controller/backends/docker/observe.ts';
import { newAttempt } from '../../support/attempts.ts';
import { Observations } from '../../support/observations.ts';

const spec = newAttempt();
const Labels = { ...identityLabels('main', spec), 'wormhole.dev/tenant-id': 'acme' };

/** An engine that says what a test wants it to say: over HTTP, on a socket. */
class ScriptedEngine {
  /** What it lists and shows. */
  containers: { Id: string; State: string; exitCode?: number }[] = [];
  /** Connections to its stream of events that were opened so far, and those still open. */
  connections = 0;
  readonly streams = new Set<ServerResponse>();
  refuse = false;
  observations!: Observations;

  static async start(relistMs: number): Promise<ScriptedEngine> {
    const engine = new ScriptedEngine();
    const folder = await mkdtemp(join(tmpdir(), 's-'));
    const socketPath = join(folder, 'engine.sock');
    const server = createServer((request, response) => engine.#answer(request.url ?? '', response));
    server.listen(socketPath);
    await once(server, 'listening');
    onTestFinished(async () => {
      server.closeAllConnections();
      server.close();
      await rm(folder, { recursive: true });
    });
    const docker = new Dockerode({ socketPath, host: undefined });
    const options = { docker, instance: 'main', relistMs, log: pino({ level: 'silent' }) };
    engine.observations = new Observations({ observe: (signal) => observeContainers(options, signal) });
    onTestFinished(() => engine.observations.stop());
    return engine;
  }

  /** Sends an event to who listens. */
  tell(Action: string, ID: string, more: Record<string, string> = {}): void {
    const event = { Action, Actor: { ID, Attributes: { ...Labels, ...more } }, timeNano: Date.now() * 1e6 };
    for (const stream of this.streams) stream.write(`${JSON.stringify(event)}\n`);
  }

  #answer(url: string, response: ServerResponse): void {
    if (this.refuse) {
      response.socket?.destroy();
    } else if (url.startsWith('/events')) {
      this.connections += 1;
      this.streams.add(response);
      response.on('close', () => this.streams.delete(response));
      response.flushHeaders();
    } else if (url.startsWith('/containers/json')) {
      response.end(JSON.stringify(this.containers.map((c) => ({ ...c, Labels }))));
    } else {
      const found = this.containers.find((c) => url.startsWith(`/containers/${c.Id}/json`));
      response.statusCode = found === undefined ? 404 : 200;
      const State = {
        Status: found?.State,
        ExitCode: found?.exitCode,
        OOMKilled: false,
        FinishedAt: new Date(),
      };
      response.end(JSON.stringify(found === undefined ? { message: 'No such container' } : { State }));
    }
  }

  ends(): unknown[] {
    return this.observations.all.flatMap((o) => (o.kind === 'ended' ? [o.exit.kind] : []));
  }
}

test('a container that vanishes without a word is lost', async () => {
  const engine = await ScriptedEngine.start(200);
  engine.containers = [{ Id: 'c1', State: 'running' }];
  await engine.observations.of('started', spec);
  engine.containers = [];
  expect((await engine.observations.of('ended', spec)).exit).toMatchObject({ kind: 'lost', exitCode: null });
  await delay(500);
  expect(engine.ends()).toEqual(['lost']);
});

test('a container that is destroyed without having died is lost', async () => {
  const engine = await ScriptedEngine.start(60_000);
  engine.containers = [{ Id: 'c1', State: 'running' }];
  await engine.observations.of('started', spec);
  engine.tell('destroy', 'c1');
  expect((await engine.observations.of('ended', spec)).exit.kind).toBe('lost');
});

test('the end of a container that is gone before it can be inspected is what the event says', async () => {
  const engine = await ScriptedEngine.start(60_000);
  await expect.poll(() => engine.streams.size).toBe(1);
  engine.tell('start', 'c1');
  engine.tell('oom', 'c1');
  engine.tell('die', 'c1', { exitCode: '137' });
  engine.tell('destroy', 'c1');
  const { exit } = await engine.observations.of('ended', spec);
  expect(exit).toMatchObject({ kind: 'exited', exitCode: 137, oomKilled: true });
  await delay(100);
  expect(engine.ends()).toEqual(['exited']);
});

test('a container that was created and removed, and never ran, is not observed', async () => {
  const engine = await ScriptedEngine.start(100);
  engine.containers = [{ Id: 'c1', State: 'created' }];
  await expect.poll(() => engine.connections).toBeGreaterThan(1);
  engine.tell('destroy', 'c1');
  engine.containers = [];
  await delay(300);
  expect(engine.observations.all).toEqual([]);
});

test('a stream that stays silent delays an observation by no more than the time to the next listing', async () => {
  const engine = await ScriptedEngine.start(500);
  engine.containers = [{ Id: 'c1', State: 'running' }];
  await engine.observations.of('started', spec);
  engine.containers = [{ Id: 'c1', State: 'exited', exitCode: 7 }];
  expect((await engine.observations.of('ended', spec, 2000)).exit).toMatchObject({
    kind: 'exited',
    exitCode: 7,
  });
});

test('an engine that breaks off is asked again, not without pause, and what happened meanwhile is observed', async () => {
  const engine = await ScriptedEngine.start(60_000);
  engine.containers = [{ Id: 'c1', State: 'running' }];
  await engine.observations.of('started', spec);
  engine.refuse = true;
  for (const stream of engine.streams) stream.socket?.destroy();
  await delay(1000);
  expect(engine.ends()).toEqual([]);
  engine.containers = [{ Id: 'c1', State: 'exited', exitCode: 0 }];
  engine.refuse = false;
  await engine.observations.of('ended', spec);
  expect(engine.connections).toBe(2);
});

test('a stream that the engine ends at once is not asked for in a tight loop', async () => {
  const engine = await ScriptedEngine.start(60_000);
  const ending = setInterval(() => engine.streams.forEach((stream) => stream.end()), 5);
  onTestFinished(() => clearInterval(ending));
  await delay(1500);
  expect(engine.connections).toBeGreaterThan(1);
  expect(engine.connections).toBeLessThan(20);
});
