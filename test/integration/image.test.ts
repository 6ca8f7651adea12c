import { beforeAll, expect, test } from 'vitest';
import { ensureRunnerImage, type RunnerImage } from '../../controller/setup/image.ts';
import { runnerVersion } from '../../controller/setup/runner-context.ts';
import { engine } from '../support/engine.ts';
import { filesOf, runHardened, type ImageFile } from '../support/image-files.ts';
import { describeWith } from '../support/requires.ts';

const USER = 65_532;
const SBOM = 'usr/share/sbom/wormhole-runner.cdx.json';
const MAX_MB = 90;
/** As in docs/gateway-protocol.md. */
const EXIT_ENVIRONMENT_WRONG = 78;

interface Sbom {
  readonly bomFormat: string;
  readonly components: readonly {
    readonly name: string;
    readonly version: string;
    readonly licenses?: readonly unknown[];
  }[];
}

describeWith('the runner image', engine, (connected) => {
  const { docker } = connected;
  let image: RunnerImage;
  let files: ReadonlyMap<string, ImageFile>;

  beforeAll(async () => {
    image = await connected.runnerImage();
    files = await filesOf(docker, image.image);
  }, 600_000);

  const names = (): string[] => [...files.keys()];

  test(`is smaller than ${MAX_MB} MB unpacked`, () => {
    const bytes = [...files.values()].reduce((sum, { header }) => sum + header.size, 0);
    console.log(`runner image ${image.name}: ${(bytes / 1e6).toFixed(1)} MB in ${files.size} files`);
    expect(bytes / 1e6).toBeLessThan(MAX_MB);
    expect(image.imageMb).toBeLessThan(MAX_MB);
  });

  test('has one program, the interpreter: no shell, no package manager, no tools', () => {
    const programs = names().filter((name) => /^(?:usr\/)?(?:local\/)?s?bin\/./.test(name));
    expect(programs).toEqual(['usr/bin/python3']);
    const elsewhere =
      /(?:^|\/)(?:sh|bash|dash|busybox|apt|apt-get|dpkg|apk|rpm|pip3?|perl|gcc|ld|su|sudo|mount)$/;
    expect(names().filter((name) => elsewhere.test(name))).toEqual([]);
    expect(
      names().filter((name) => /\/(?:pip|setuptools|ensurepip|idlelib|test|unittest)\//.test(name)),
    ).toEqual([]);
  });

  test('runs nothing but the interpreter, loader and libraries: every other file is data', () => {
    const executable = [...files].filter(
      ([, { header }]) => header.type === 'file' && (header.mode & 0o111) !== 0,
    );
    const odd = executable
      .map(([name]) => name)
      .filter((name) => !/^usr\/bin\/python3$|\.so(?:\.\d+)*$/.test(name));
    expect(odd).toEqual([]);
  });

  test('has no setuid, setgid or sticky file, no device, no capability', () => {
    const special = [...files].filter(
      ([, { header }]) =>
        (header.mode & 0o7000) !== 0 ||
        !['file', 'directory', 'symlink', 'link'].includes(header.type) ||
        JSON.stringify(header.pax ?? {}).includes('security.capability'),
    );
    expect(special.map(([name]) => name)).toEqual([]);
  });

  test('belongs to root, and nobody else may write anything', () => {
    const writable = [...files].filter(
      ([, { header }]) =>
        header.uid !== 0 || header.gid !== 0 || (header.type !== 'symlink' && (header.mode & 0o022) !== 0),
    );
    expect(writable.map(([name]) => name)).toEqual([]);
  });

  test('runs as a user without rights, from an entry point without a shell, with labels that say what it is', async () => {
    const { Config } = await docker.getImage(image.image).inspect();
    expect(Config.User).toBe(`${USER}:${USER}`);
    expect(Config.Entrypoint).toEqual(['/usr/bin/python3', '-I', '-X', 'utf8', '-m', 'wormhole_runner']);
    expect(Config.Cmd).toBeNull();
    expect(Config.ExposedPorts).toBeUndefined();
    expect(Config.Volumes).toBeNull();
    expect(Config.Labels).toMatchObject({
      'org.opencontainers.image.title': 'wormhole-runner',
      'org.opencontainers.image.version': runnerVersion(),
      'org.opencontainers.image.licenses': 'Apache-2.0',
      'org.opencontainers.image.base.name': expect.stringMatching(/./) as string,
    });
    expect(files.get('etc/passwd')?.content).toContain(`runner:x:${USER}:${USER}:`);
  });

  test('holds no secret, neither in its environment nor in its history nor in a file', async () => {
    const { Config } = await docker.getImage(image.image).inspect();
    expect(Config.Env.filter((variable) => !variable.startsWith('PATH='))).toEqual([]);
    const history = JSON.stringify(await docker.getImage(image.image).history());
    const secret =
      /-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/]|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_\w{36}|:\/\/[^\s/:@]+:[^\s/@]+@[a-z]/;
    expect(history).not.toMatch(secret);
    const ours = [...files].filter(
      ([name]) => !name.endsWith('.so') && !/\/python3\.\d+\/[^/]+\.py$/.test(name),
    );
    expect(ours.filter(([, { content }]) => secret.test(content)).map(([name]) => name)).toEqual([]);
    expect(
      names().filter((name) =>
        /\.(?:key|p12|pfx|netrc|pypirc|git)$|id_rsa|credentials$|pip\.conf/.test(name),
      ),
    ).toEqual([]);
  });

  test('lists what is in it: every installed package, the libraries of the base, and their licences', () => {
    const sbom = JSON.parse(files.get(SBOM)?.content ?? '{}') as Sbom;
    expect(sbom.bomFormat).toBe('CycloneDX');
    const listed = new Map(sbom.components.map((component) => [component.name, component]));
    const installed = names().flatMap(
      (name) => /-packages\/([^/]+)-([^/-]+)\.dist-info\/METADATA$/.exec(name)?.slice(1, 3).join(' ') ?? [],
    );
    expect(installed.length).toBeGreaterThan(3);
    for (const wheel of installed) {
      const [name, version] = wheel.replaceAll('_', '-').split(' ');
      const component = listed.get(name!) ?? listed.get(name!.replaceAll('-', '_'));
      expect(component, wheel).toMatchObject({ version, licenses: expect.any(Array) as unknown });
    }
    const expected = ['ca-certificates', 'libc6', 'libssl3'];
    if (listed.has('debian')) expect([...listed.keys()]).toEqual(expect.arrayContaining(expected));
  });

  test('has every module compiled, so that a start neither compiles nor checks anything', () => {
    const sources = names().filter((name) => name.endsWith('.py'));
    const compiled = names().filter((name) => /\/__pycache__\/[^/]+\.cpython-\d+\.pyc$/.test(name));
    expect(sources.length).toBeGreaterThan(100);
    expect(compiled).toHaveLength(sources.length);
    // PEP 552: bit 0 of the flags says "by hash", bit 1 says "check the source".
    const flags = compiled.map((name) => Buffer.from(files.get(name)!.content, 'latin1').readUInt32LE(4));
    expect(new Set(flags)).toEqual(new Set([0b01]));
  });

  test('started hardened but without a gateway, says what is missing and exits as documented', async () => {
    const { exitCode, output } = await runHardened(docker, image.image);
    expect(output).toContain('WORMHOLE_GATEWAY_URL');
    expect(output).not.toContain('Traceback');
    expect(exitCode).toBe(EXIT_ENVIRONMENT_WRONG);
  });

  test('started hardened, has a system call filter and no right at all, and can write only to /tmp', async () => {
    const program = `
import os
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(*(status[key].strip() for key in ("Seccomp", "NoNewPrivs", "CapEff", "CapBnd", "Uid")), sep="|")
writable = []
for folder, _, _ in os.walk("/"):
    if not folder.startswith(("/proc", "/sys")):
        try:
            open(folder + "/x", "w").close(); os.remove(folder + "/x"); writable.append(folder)
        except OSError:
            pass
print(*writable)`;
    const { exitCode, output } = await runHardened(docker, image.image, {
      entrypoint: ['/usr/bin/python3', '-I', '-c', program],
    });
    expect(exitCode, output).toBe(0);
    const [status, writable] = output.trim().split(/\r?\n/);
    expect(status).toBe(`2|1|${'0'.repeat(16)}|${'0'.repeat(16)}|${Array(4).fill(USER).join('\t')}`);
    // The engine's own in-memory folders, which go with the container.
    expect(writable?.split(' ').filter((name) => !['/dev/shm', '/dev/mqueue'].includes(name))).toEqual([
      '/tmp',
    ]);
  });

  test('is built once: asked for again, it is there', async () => {
    expect(await connected.runnerImage()).toBe(await connected.runnerImage());
    const again = await ensureRunnerImage(connected, { cacheDir: '/nonexistent', runnerImage: image.name });
    expect(again).toEqual({ ...image, built: false });
  });

  test('named by the operator but nowhere to be found, is an error that names it', async () => {
    const missing = ensureRunnerImage(connected, {
      cacheDir: '/nonexistent',
      runnerImage: 'localhost:1/absent:1',
    });
    await expect(missing).rejects.toMatchObject({
      code: 'IMAGE_BUILD_FAILED',
      message: expect.stringContaining('"localhost:1/absent:1"') as string,
    });
  });
});
