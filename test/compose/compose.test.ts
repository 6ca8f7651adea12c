import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { spawn } from 'node:child_process';
import type { ContainerInspectInfo } from 'dockerode';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { RUN_MOUNT, EGRESS_MOUNT } from '../../controller/backends/docker/container-spec.ts';
import { LABELS, MANAGED_BY } from '../../controller/model/labels.ts';
import { until } from '../support/cluster/until.ts';
import { composeStack } from '../support/compose/requirement.ts';
import { describeWith } from '../support/requires.ts';

const UP_MS = 240_000;
const DOWN_MS = 120_000;
const TEST_MS = 180_000;
const READY_MS = 120_000;
/** More than the watchdog's grace, and time for the engine. */
const KILLED_MS = 20_000;

const COMPONENTS = ['controller', 'gateway', 'egress-proxy', 'watchdog'];
const SERVERS = ['postgres', 'redis', 'mongodb'];
const ONCE = ['volumes', 'runner-image'];
const SOCKET = '/var/run/docker.sock';
const CANARY = `canary-${randomBytes(16).toString('hex')}`;

const call = (name: string, path: string, more: object = {}): object => ({
  name,
  steps: [
    {
      key: 'call',
      action: {
        type: 'HTTP',
        method: 'POST',
        endpointTemplate: `http://far.example.internal${path}`,
        ...more,
      },
    },
  ],
});

vi.setConfig({ testTimeout: TEST_MS });

describeWith('deploy/compose', composeStack, ({ engine, stack }) => {
  const { docker } = engine;

  beforeAll(async () => {
    await stack.compose('up', '--detach', '--wait');
  }, UP_MS);
  afterAll(async () => {
    await stack.compose('down', '--volumes', '--timeout', '20');
  }, DOWN_MS);

  const submit = async (
    tenant: string,
    definition: object,
  ): Promise<{ exitCode: number | null; told: string }> => {
    const args = ['submit', '/dev/stdin', '--tenant', tenant, '--follow'];
    const { exitCode, stdout, stderr } = await stack.wormhole('controller', args, definition);
    return { exitCode, told: stdout + stderr };
  };
  const calls = async (path: string): Promise<{ path: string; credential: string }[]> => {
    const lines = (await stack.compose('logs', '--no-log-prefix', 'far-side')).trim().split('\n');
    return lines
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as { path: string; credential: string })
      .filter((one) => one.path === path);
  };
  const healthy = (service: string): Promise<void> =>
    until(service, READY_MS, async () => {
      const { State: state } = await stack.inspect(service);
      expect([state.Running, state.Health?.Status]).toEqual([true, 'healthy']);
    });
  const runs = () =>
    docker.listContainers({
      all: true,
      filters: { label: [`${LABELS.managedBy}=${MANAGED_BY}`, `${LABELS.component}=run`] },
    });

  test.each([...COMPONENTS, ...SERVERS, ...ONCE])('%s is a hardened container', async (service) => {
    const { HostConfig: host, Config: config } = await stack.inspect(service);
    // The numbers are those of the CIS Docker Benchmark 1.6, section 5.
    expect.soft(host.CapDrop, '5.4 capabilities').toEqual(['ALL']);
    const added = ((host.CapAdd as string[] | null) ?? []).map((name) => name.replace(/^CAP_/, ''));
    expect.soft(added, '5.4 capabilities').toEqual(service === 'volumes' ? ['CHOWN'] : []);
    expect.soft(host.Privileged, '5.5 privileged').toBe(false);
    expect.soft(Object.keys(host.PortBindings as object), '5.8 ports').toEqual([]);
    expect.soft(host.NetworkMode, '5.10 host network').not.toBe('host');
    expect.soft(host.Memory, '5.11 memory').toBeGreaterThan(0);
    expect.soft(host.ReadonlyRootfs, '5.13 read-only root').toBe(true);
    expect.soft(host.PidMode, '5.16 host processes').toBe('');
    expect.soft(host.IpcMode, '5.17 host ipc').toBe('private');
    expect.soft(host.SecurityOpt, '5.26 new privileges').toEqual(['no-new-privileges:true']);
    expect.soft(host.PidsLimit, '5.29 pids').toBeGreaterThan(0);
    const root = ['controller', 'watchdog', 'volumes'];
    expect.soft(/^(?:0|)(?::|$)/.test(config.User), 'root').toBe(root.includes(service));
    if (ONCE.includes(service)) return;
    expect.soft(host.RestartPolicy?.Name, '5.15 restarts').toBe('unless-stopped');
    expect.soft(config.Healthcheck, '5.27 health check').toBeDefined();
  });

  test('the engine socket is in controller and watchdog, and nowhere else', async () => {
    const all = await Promise.all([...COMPONENTS, ...SERVERS, ...ONCE].map((name) => stack.inspect(name)));
    const having = all.filter(({ Mounts }) => JSON.stringify(Mounts).includes(engine.socketPath));
    expect(having.map(({ Name }) => Name).sort()).toEqual(['/wormhole-controller-1', '/wormhole-watchdog-1']);
    expect(having.flatMap(({ Mounts }) => Mounts.map((mount) => mount.Destination))).toContain(SOCKET);
  });

  test('nobody is on a network that it does not need', async () => {
    const networksOf = async (service: string): Promise<string[]> => {
      const { NetworkSettings: settings } = await stack.inspect(service);
      return Object.keys(settings.Networks)
        .map((name) => name.replace('wormhole_', ''))
        .sort();
    };
    expect(
      Object.fromEntries(
        await Promise.all([...COMPONENTS, ...SERVERS].map(async (name) => [name, await networksOf(name)])),
      ),
    ).toEqual({
      controller: ['database', 'logs', 'queue'],
      gateway: ['database', 'logs', 'tokens'],
      // `far` is the network of the test's own service.
      'egress-proxy': ['egress', 'far'],
      watchdog: ['none'],
      postgres: ['database'],
      redis: ['queue'],
      mongodb: ['logs'],
    });
    for (const name of ['database', 'queue', 'logs']) {
      const { Internal: internal } = (await docker.getNetwork(`wormhole_${name}`).inspect()) as {
        Internal: boolean;
      };
      expect(internal, name).toBe(true);
    }
  });

  test('each secret is where it is needed, and nowhere else', async () => {
    const names = async (service: string): Promise<string[]> => {
      const program = 'console.log(JSON.stringify(fs.readdirSync("/run/secrets/wormhole")))';
      const { stdout } = await stack.exec(service, ['node', '--eval', program]);
      return (JSON.parse(stdout) as string[]).sort();
    };
    expect(await names('controller')).toEqual(['DATABASE_URL', 'MONGODB_URL', 'REDIS_URL']);
    expect(await names('gateway')).toEqual([
      ...['DATABASE_URL', 'MONGODB_URL', 'WORMHOLE_EGRESS_GRANT_KEY', 'WORMHOLE_ENCRYPTION_KEYS'],
    ]);
    expect(await names('egress-proxy')).toEqual(['WORMHOLE_EGRESS_GRANT_KEY']);
  });

  test('runs of two tenants reach what they may, and nothing else', async () => {
    const [acme, globex, denied] = await Promise.all([
      submit('acme', call('acme', '/acme')),
      submit('globex', call('globex', '/globex')),
      submit('acme', {
        name: 'denied',
        steps: [
          { key: 'call', action: { type: 'HTTP', method: 'GET', endpointTemplate: 'http://postgres:5432/' } },
        ],
      }),
    ]);
    expect(acme.told).toContain('SUCCESS');
    expect(globex.told).toContain('SUCCESS');
    expect([acme.exitCode, globex.exitCode]).toEqual([0, 0]);
    expect(denied.told).toContain('postgres:5432 is denied (HOST_NOT_ALLOWED)');
    expect(denied.exitCode).toBe(10);
    expect([(await calls('/acme')).length, (await calls('/globex')).length]).toEqual([1, 1]);
    const proxyLog = await stack.compose('logs', 'egress-proxy');
    expect(proxyLog).toContain('egress allowed');
    expect(proxyLog).toContain('HOST_NOT_ALLOWED');
  });

  test('a run has no network, and sees its own two folders, read-only; the egress proxy sees no claim token', async () => {
    const ended = submit('acme', call('looked-at', '/looked-at?ms=4000'));
    await until('the call', READY_MS, async () => expect(await calls('/looked-at')).toHaveLength(1));
    const [container] = await runs();
    const info: ContainerInspectInfo = await docker.getContainer(container?.Id ?? '').inspect();
    const attempt = info.Name.replace('/wh-wormhole-', '');
    expect(info.Mounts.map(({ Source, Destination, RW }) => [Source, Destination, RW]).sort()).toEqual([
      [`/run/wormhole/egress/${attempt}`, EGRESS_MOUNT, false],
      [`/run/wormhole/gateway/${attempt}`, RUN_MOUNT, false],
    ]);
    expect(info.HostConfig.NetworkMode).toBe('none');
    const list = `for (const d of ['', '/gateway', '/egress']) try { console.log(d, ...fs.readdirSync('/run/wormhole' + d, {recursive: true})) } catch { }`;
    const { stdout } = await stack.exec('egress-proxy', ['node', '--eval', list]);
    expect(stdout).toContain(`${attempt}/egress.sock`);
    expect(stdout).not.toContain('claim-token');
    expect(stdout).not.toContain('gateway');
    // Nobody of this machine but root and the platform's group.
    const modes = await engine.inside(
      'stat',
      '--format=%a %u:%g',
      '/run/wormhole/gateway',
      '/run/wormhole/egress',
    );
    expect(modes.trim().split('\n')).toEqual(['750 0:65530', '750 0:65530']);
    expect((await ended).exitCode).toBe(0);
    await until('the removal', READY_MS, async () => expect(await runs()).toEqual([]));
    expect(await engine.inside('find', '/run/wormhole', '-mindepth', '2')).toBe('');
  });

  test('a secret of a tenant reaches the far side, and is in no container, log or volume as text', async () => {
    const credentials = { kind: 'API_KEY', in: 'header', name: 'X-API-Key', value: CANARY };
    const stored = await stack.wormhole(
      'gateway',
      ['connection', 'set', 'crm', '/dev/stdin', '--tenant', 'acme'],
      credentials,
    );
    expect(stored).toMatchObject({ exitCode: 0 });
    const { told, exitCode } = await submit(
      'acme',
      call('secret', '/secret', { auth: { connection: 'crm' } }),
    );
    expect(exitCode, told).toBe(0);
    const credential = createHash('sha256').update(CANARY).digest('hex');
    expect(await calls('/secret')).toEqual([{ path: '/secret', credential }]);

    const found = await filesWith(CANARY, ['volumes', 'containers']);
    expect(found).toEqual([]);
  });

  test('keys and passwords are in the volumes of those who need them, and in no configuration and log', async () => {
    const read = async (service: string, path: string): Promise<string> => {
      const program = `process.stdout.write(fs.readFileSync(${JSON.stringify(path)}, 'utf8'))`;
      return (await stack.exec(service, ['node', '--eval', program])).stdout;
    };
    const keys = await read('gateway', '/run/secrets/wormhole/WORMHOLE_ENCRYPTION_KEYS');
    const key = keys.slice(keys.indexOf(':') + 1);
    const { password } = new URL(await read('controller', '/run/secrets/wormhole/DATABASE_URL'));
    const grantKey = await read('egress-proxy', '/run/secrets/wormhole/WORMHOLE_EGRESS_GRANT_KEY');
    for (const secret of [key, password, grantKey]) {
      expect(secret.length).toBeGreaterThan(30);
      expect(await filesWith(secret, ['containers'])).toEqual([]);
    }
    const volumesWith = async (secret: string): Promise<string[]> =>
      (await filesWith(secret, ['volumes'])).map((file) => file.split('/')[1] ?? '').sort();
    expect(await volumesWith(key)).toEqual(['wormhole_gateway-secrets']);
    expect(await volumesWith(grantKey)).toEqual([
      'wormhole_egress-proxy-secrets',
      'wormhole_gateway-secrets',
    ]);
  });

  test('a run goes on when controller and gateway are killed, and is executed once', async () => {
    const submitted = await stack.wormhole(
      'controller',
      ['submit', '/dev/stdin', '--tenant', 'globex', '--json'],
      call('survivor', '/survivor?ms=6000'),
    );
    const { runId } = JSON.parse(submitted.stdout) as { runId: string };
    await until('the call', READY_MS, async () => expect(await calls('/survivor')).toHaveLength(1));
    await Promise.all([stack.crash('controller'), stack.crash('gateway')]);
    await until('the end of the run', READY_MS, async () => {
      const { stdout, stderr } = await stack.wormhole('controller', ['show', runId, '--json']);
      expect(`${stdout}${stderr}`).toContain('"SUCCESS"');
    });
    expect(await calls('/survivor')).toHaveLength(1);
    await Promise.all(['controller', 'gateway'].map(healthy));
  });

  test('new runs start after the egress proxy was killed', async () => {
    await stack.crash('egress-proxy');
    expect(await submit('acme', call('after', '/after'))).toMatchObject({ exitCode: 0 });
    await healthy('egress-proxy');
  });

  test('the watchdog kills what outlives its deadline while the controller is down', async () => {
    await stack.compose('stop', 'controller');
    const { Image: image } = await stack.inspect('runner-image');
    const container = await docker.createContainer({
      Image: image,
      Entrypoint: ['/usr/bin/python3', '-I', '-c', 'import time; time.sleep(300)'],
      Labels: {
        [LABELS.managedBy]: MANAGED_BY,
        [LABELS.component]: 'run',
        [LABELS.instance]: 'wormhole',
        [LABELS.deadline]: String(Date.now() + 1000),
      },
      HostConfig: { NetworkMode: 'none' },
    });
    await container.start();
    await until('its end', KILLED_MS, async () => {
      expect((await container.inspect()).State).toMatchObject({ Running: false, ExitCode: 137 });
    });
    await container.remove();
    await stack.compose('start', 'controller');
    await healthy('controller');
  });

  test(
    'what was made stays when it is brought up again, and a run still ends',
    async () => {
      await stack.compose('down', '--timeout', '20');
      await stack.compose('up', '--detach', '--wait');
      const { stdout } = await stack.wormhole('gateway', ['connection', 'ls', '--tenant', 'acme']);
      expect(stdout).toContain('crm');
      const { told, exitCode } = await submit(
        'acme',
        call('again', '/again', { auth: { connection: 'crm' } }),
      );
      expect(exitCode, told).toBe(0);
    },
    UP_MS,
  );

  test(
    'nothing is left when it is taken down',
    async () => {
      await until('the removal of runs', READY_MS, async () => expect(await runs()).toEqual([]));
      await stack.compose('down', '--volumes', '--timeout', '20');
      expect(await docker.listContainers({ all: true })).toEqual([]);
      expect((await docker.listVolumes()).Volumes).toEqual([]);
      const networks = (await docker.listNetworks()).map(({ Name }) => Name).sort();
      expect(networks).toEqual(['bridge', 'host', 'none']);
      expect(await engine.inside('find', '/run/wormhole', '-mindepth', '2')).toBe('');
    },
    DOWN_MS,
  );

  /** @returns the files of the engine with this text in them, below its data folder. */
  async function filesWith(secret: string, folders: readonly string[]): Promise<string[]> {
    // Standard input, because a command line is what others see.
    const child = spawn(
      'grep',
      ['--recursive', '--files-with-matches', '--fixed-strings', '--text', '--file=-', ...folders],
      {
        cwd: join(engine.dataDir),
        stdio: ['pipe', 'pipe', 'ignore'],
      },
    );
    child.stdin.end(`${secret}\n`);
    const files: string[] = [];
    for await (const line of createInterface({ input: child.stdout })) files.push(line);
    if (child.exitCode === null) await once(child, 'exit');
    return files;
  }
});
