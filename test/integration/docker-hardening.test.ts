import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ContainerInspectInfo } from 'dockerode';
import { newAttempt } from '../support/attempts.ts';
import { dockerBackend, type DockerBackendUnderTest } from '../support/docker-backend.ts';
import { docker } from '../support/docker.ts';
import { Observations } from '../support/observations.ts';
import { probeImage } from '../support/probe-image.ts';
import { describeWith } from '../support/requires.ts';

const UNTIL_KILLED = 'while :; do sleep 1; done';

describeWith('a run container', docker, (engine) => {
  let made: DockerBackendUnderTest;
  let info: ContainerInspectInfo;
  const spec = newAttempt();

  beforeAll(async () => {
    made = await dockerBackend(engine, { image: await probeImage(engine, UNTIL_KILLED) });
    const { containerId } = await made.backend.start(spec);
    info = await engine.getContainer(containerId).inspect();
  });
  afterAll(() => made.dispose());

  /** Executes a script in a run container of its own, to its end. */
  async function look(script: string): Promise<string> {
    const one = await dockerBackend(engine, { image: await probeImage(engine, script) });
    const observations = new Observations(one.backend);
    try {
      const own = newAttempt();
      await one.backend.start(own);
      await observations.of('ended', own);
      return await one.backend.outputTail(own, 200);
    } finally {
      await observations.stop();
      await one.dispose();
    }
  }

  // The numbers are those of the CIS Docker Benchmark 1.6, section 5.
  test('passes the CIS checks of its runtime configuration', () => {
    const { HostConfig: host, Config: config } = info;
    expect.soft(host.CapDrop, '5.4 capabilities').toEqual(['ALL']);
    expect.soft(host.CapAdd, '5.4 capabilities').toBeNull();
    expect.soft(host.Privileged, '5.5 privileged').toBe(false);
    expect
      .soft(
        info.Mounts.map((m) => [m.Destination, m.RW]),
        '5.6 host folders',
      )
      .toEqual([['/run/wormhole', false]]);
    expect.soft(host.PortBindings, '5.8 ports').toBeNull();
    expect.soft(host.NetworkMode, '5.10 host network').toBe('none');
    expect.soft(Object.keys(info.NetworkSettings.Networks), '5.30 default bridge').toEqual(['none']);
    expect.soft(host.Memory, '5.11 memory').toBe(64 * 1024 * 1024);
    expect.soft(host.MemorySwap, '5.11 memory').toBe(host.Memory);
    expect.soft(host.NanoCpus, '5.12 cpu').toBe(1e9);
    expect.soft(host.ReadonlyRootfs, '5.13 read-only root').toBe(true);
    expect.soft(host.RestartPolicy?.Name, '5.15 restarts').toBe('no');
    expect.soft(host.PidMode, '5.16 host processes').toBe('');
    expect.soft(host.IpcMode, '5.17 host ipc').toBe('none');
    expect.soft(host.Devices, '5.18 devices').toBeNull();
    expect.soft(host.UTSMode, '5.21 host uts').toBe('');
    expect.soft(host.SecurityOpt, '5.22 seccomp, 5.26 new privileges').toEqual(['no-new-privileges:true']);
    expect.soft(host.CgroupParent, '5.25 cgroup').toBe('');
    expect.soft(host.PidsLimit, '5.29 pids').toBe(32);
    expect.soft(host.UsernsMode, '5.31 user namespace').toBe('');
    expect.soft(JSON.stringify(info.Mounts), '5.32 engine socket').not.toContain('docker.sock');
    expect.soft(config.User, 'non-root').toBe('65532:65532');
    expect.soft(config.Hostname).toBe('run');
    expect.soft(host.LogConfig?.Config, 'log size').toEqual({ 'max-size': '64k', 'max-file': '2' });
    expect.soft(host, 'masked paths are the default').toMatchObject({
      MaskedPaths: expect.arrayContaining(['/proc/kcore', '/proc/keys']) as unknown,
    });
  });

  test('its process has no capability, no way to gain one, and a seccomp filter', async () => {
    const status = Object.fromEntries(
      (await readFile(`/proc/${info.State.Pid}/status`, 'utf8'))
        .split('\n')
        .map((line) => line.split(/:\s+/, 2)),
    ) as Record<string, string>;
    expect(status).toMatchObject({
      Uid: '65532\t65532\t65532\t65532',
      CapPrm: '0000000000000000',
      CapEff: '0000000000000000',
      CapBnd: '0000000000000000',
      CapAmb: '0000000000000000',
      NoNewPrivs: '1',
      // 2: a filter (proc_pid_status(5)).
      Seccomp: '2',
    });
    expect(await readFile(`/proc/${info.State.Pid}/oom_score_adj`, 'utf8')).toBe('500\n');
  });

  test('seccomp refuses what the default profile refuses', async () => {
    expect(await look('unshare -U true 2>&1; echo "unshare: $?"')).toMatch(/not permitted[\s\S]*unshare: 1/);
  });

  test('it sees its claim token and no secret in its environment', async () => {
    const environment = await readFile(`/proc/${info.State.Pid}/environ`, 'utf8');
    expect(environment).not.toContain(spec.claimToken);
    expect(await look('env | cut -d= -f1 | sort; wc -c < /run/wormhole/claim-token')).toBe(
      'HOME\nHOSTNAME\nPATH\nPWD\nSHLVL\nWORMHOLE_CLAIM_TOKEN_FILE\nWORMHOLE_GATEWAY_URL\n36\n',
    );
  });

  test('it can write to /tmp and nowhere else', async () => {
    const folders = await look(
      'find / -xdev -type d 2>/dev/null > /tmp/d; find /dev /run /sys -type d 2>/dev/null >> /tmp/d; ' +
        'while read -r d; do [ -w "$d" ] && touch "$d/.w" 2>/dev/null && echo "$d"; done < /tmp/d',
    );
    // Files in the message queue file system need room for a queue: there is none.
    expect(folders).toBe('/tmp\n');
  });

  test('/tmp holds no more than its size, and nothing in it can be executed', async () => {
    const output = await look(
      'dd if=/dev/zero of=/tmp/big bs=1M count=20 2>&1 | tail -1; stat -c %s /tmp/big; rm /tmp/big; ' +
        'cp /bin/busybox /tmp/sh; /tmp/sh true; echo "exec: $?"; grep " /tmp " /proc/mounts',
    );
    expect(output).toContain('8388608\n');
    expect(output).toContain('exec: 126');
    expect(output).toMatch(/\/tmp tmpfs rw,nosuid,nodev,noexec/);
  });

  test('a fork bomb ends at its limit of processes', async () => {
    const output = await look(
      'i=0; while [ $i -lt 100 ]; do sleep 2 & i=$((i+1)); echo $i > /tmp/n; done 2>/dev/null; echo over',
    );
    expect(output).not.toContain('over');
  });

  test('it has no network but loopback, and no other processes', async () => {
    expect(await look('ls /sys/class/net; ls -d /proc/[0-9]* | wc -l; hostname')).toMatch(
      /^lo\n[1-5]\nrun\n$/,
    );
  });

  test('its folder is read-only for it', async () => {
    expect(
      await look(
        'rm -f /run/wormhole/gateway.sock 2>&1; ls /run/wormhole; stat -c "%a %F" /run/wormhole/gateway.sock',
      ),
    ).toBe(
      "rm: can't remove '/run/wormhole/gateway.sock': Read-only file system\n" +
        'claim-token\negress.sock\ngateway.sock\n666 socket\n',
    );
  });

  test('what it prints is cut off', async () => {
    const one = await dockerBackend(engine, {
      image: await probeImage(
        engine,
        'yes 0123456789012345678901234567890123456789 | head -c 2000000; exit 5',
      ),
    });
    const observations = new Observations(one.backend);
    try {
      const own = newAttempt();
      await one.backend.start(own);
      expect((await observations.of('ended', own)).exit.exitCode).toBe(5);
      const kept = await one.backend.outputTail(own, 1_000_000);
      expect(kept.length).toBeLessThan(130_000);
    } finally {
      await observations.stop();
      await one.dispose();
    }
  });
});
