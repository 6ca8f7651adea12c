import { expect, test } from 'vitest';
import { containerSpec } from '../../../controller/backends/docker/container-spec.ts';
import { newAttempt } from '../../support/attempts.ts';

const spec = newAttempt({
  limits: { cpus: 0.5, memoryMb: 512, pids: 128, tmpMb: 64 },
  deadlineInMs: 60_123,
});
const options = { image: 'runner:1', instance: 'main', folder: '/srv/runs/x', security: {} };
const madeAfter = Date.now();
const made = containerSpec(spec, options);
const madeBefore = Date.now();
const { 'wormhole.dev/deadline': deadline, ...labels } = made.Labels ?? {};

test('a container is named and labelled after its instance and attempt', () => {
  expect(made.name).toBe(`wh-main-${spec.runId}-1`);
  expect(labels).toEqual({
    'app.kubernetes.io/managed-by': 'wormhole',
    'app.kubernetes.io/component': 'run',
    'app.kubernetes.io/instance': 'main',
    'wormhole.dev/run-id': spec.runId,
    'wormhole.dev/attempt': '1',
    'wormhole.dev/tenant-id': 'acme',
    'wormhole.dev/workflow-version-id': spec.workflowVersionId,
    'wormhole.dev/mode': 'cold',
  });
});

// For the watchdog, which knows nothing but the engine and this clock.
test('a container says when its deadline is, on the clock of its machine', () => {
  expect(deadline).toMatch(/^[0-9]{13}$/);
  expect(Number(deadline)).toBeGreaterThanOrEqual(madeAfter + spec.deadlineInMs);
  expect(Number(deadline)).toBeLessThanOrEqual(madeBefore + spec.deadlineInMs);
});

test('the environment holds where the gateway is, and nothing else', () => {
  expect(made.Env).toEqual([
    'WORMHOLE_GATEWAY_URL=unix:/run/wormhole/gateway.sock',
    'WORMHOLE_CLAIM_TOKEN_FILE=/run/wormhole/claim-token',
  ]);
});

test('the claim token is nowhere in what the engine is told', () => {
  expect(JSON.stringify(made)).not.toContain(spec.claimToken);
});

test('the image says what is executed, not the attempt', () => {
  expect(made.Image).toBe('runner:1');
  expect(made).not.toHaveProperty('Cmd');
  expect(made).not.toHaveProperty('Entrypoint');
});

test('the process is nobody, has no terminal, and the same host name everywhere', () => {
  expect(made).toMatchObject({
    User: '65532:65532',
    Hostname: 'run',
    Tty: false,
    OpenStdin: false,
    AttachStdin: false,
    AttachStdout: false,
    AttachStderr: false,
    StopSignal: 'SIGTERM',
    StopTimeout: 5,
    Healthcheck: { Test: ['NONE'] },
  });
});

// The whole of it: a field that is added has to be thought about here.
test('the host side is closed', () => {
  expect(made.HostConfig).toEqual({
    NetworkMode: 'none',
    IpcMode: 'none',
    CgroupnsMode: 'private',
    Privileged: false,
    ReadonlyRootfs: true,
    CapDrop: ['ALL'],
    SecurityOpt: ['no-new-privileges:true'],
    Memory: 512 * 1024 * 1024,
    MemorySwap: 512 * 1024 * 1024,
    NanoCpus: 500_000_000,
    PidsLimit: 128,
    OomScoreAdj: 500,
    Ulimits: [
      { Name: 'core', Soft: 0, Hard: 0 },
      { Name: 'nofile', Soft: 1024, Hard: 1024 },
      { Name: 'msgqueue', Soft: 0, Hard: 0 },
    ],
    Tmpfs: { '/tmp': 'rw,noexec,nosuid,nodev,size=64m,nr_inodes=16k,mode=1777' },
    Mounts: [
      {
        Type: 'bind',
        Source: '/srv/runs/x',
        Target: '/run/wormhole',
        ReadOnly: true,
        BindOptions: { Propagation: 'rprivate' },
      },
    ],
    Init: false,
    RestartPolicy: { Name: 'no' },
    AutoRemove: false,
    LogConfig: { Type: 'json-file', Config: { 'max-size': '64k', 'max-file': '2' } },
  });
});

test('another runtime can be chosen', () => {
  const sandboxed = containerSpec(spec, { ...options, security: { runtime: 'runsc' } });
  expect(sandboxed.HostConfig).toEqual({ ...made.HostConfig, Runtime: 'runsc' });
});

test('cpu limits are whole nanocpus', () => {
  const third = containerSpec({ ...spec, limits: { ...spec.limits, cpus: 1 / 3 } }, options);
  expect(third.HostConfig.NanoCpus).toBe(333_333_333);
});
