import { beforeAll, expect, test } from 'vitest';
import type { BuiltImage } from '../../controller/setup/image-build.ts';
import { engine } from '../support/engine.ts';
import { filesOf, runHardened, type ImageFile } from '../support/image-files.ts';
import { describeWith } from '../support/requires.ts';

const USER = 65_532;
const MAX_MB = 250;
const PROGRAMS = ['usr/bin/node', 'usr/bin/wormhole'];
const SBOM = 'usr/share/sbom/wormhole-control-plane.cdx.json';

interface Sbom {
  readonly bomFormat: string;
  readonly components: readonly { readonly name: string; readonly version: string }[];
}

describeWith("the control plane's image", engine, (connected) => {
  const { docker } = connected;
  let image: BuiltImage;
  let files: ReadonlyMap<string, ImageFile>;
  const names = (): string[] => [...files.keys()];

  beforeAll(async () => {
    image = await connected.controlPlaneImage();
    files = await filesOf(docker, image.image);
  }, 600_000);

  test(`is smaller than ${MAX_MB} MB unpacked`, () => {
    console.log(`image ${image.name}: ${image.imageMb.toFixed(1)} MB in ${files.size} files`);
    expect(image.imageMb).toBeLessThan(MAX_MB);
  });

  test('has two programs, Node and the one that it starts: no shell, no package manager, no tools', () => {
    expect(names().filter((name) => /^(?:usr\/)?(?:local\/)?s?bin\/./.test(name))).toEqual(PROGRAMS);
    const elsewhere =
      /(?:^|\/)(?:sh|bash|dash|busybox|apt|apt-get|dpkg|apk|rpm|npm|npx|yarn|corepack|python3?|perl|su|sudo|mount)$/;
    expect(names().filter((name) => elsewhere.test(name) && files.get(name)?.header.type === 'file')).toEqual(
      [],
    );
    expect(
      names().filter((name) =>
        /\/node_modules\/(?:npm|typescript|vitest|eslint|node|cdk8s-cli)\//.test(name),
      ),
    ).toEqual([]);
  });

  test('runs nothing but these, the loader and libraries: every other file is data', () => {
    const executable = [...files].filter(
      ([, { header }]) => header.type === 'file' && (header.mode & 0o111) !== 0,
    );
    const odd = executable.map(([name]) => name).filter((name) => !/\.so(?:\.\d+)*$/.test(name));
    expect(odd.sort()).toEqual(PROGRAMS);
  });

  test('has no setuid, setgid or sticky file, no device, no capability, and nothing that others may write', () => {
    const special = [...files].filter(
      ([, { header }]) =>
        (header.mode & 0o7000) !== 0 ||
        !['file', 'directory', 'symlink', 'link'].includes(header.type) ||
        JSON.stringify(header.pax ?? {}).includes('security.capability') ||
        header.uid !== 0 ||
        header.gid !== 0 ||
        (header.type !== 'symlink' && (header.mode & 0o022) !== 0),
    );
    expect(special.map(([name]) => name)).toEqual([]);
  });

  test('runs as a user without rights, from an entry point without a shell, with labels that say what it is', async () => {
    const { Config } = await docker.getImage(image.image).inspect();
    expect(Config.User).toBe(`${USER}:${USER}`);
    expect(Config.Entrypoint).toEqual(['/usr/bin/wormhole']);
    expect(Config.Cmd).toBeNull();
    expect(Config.Volumes).toBeNull();
    expect(Config.Env.filter((variable) => !variable.startsWith('PATH='))).toEqual([]);
    expect(Config.Labels).toMatchObject({
      'org.opencontainers.image.title': 'wormhole-control-plane',
      'org.opencontainers.image.licenses': 'Apache-2.0',
    });
    expect(files.get('etc/passwd')?.content).toContain(`:${USER}:${USER}:`);
  });

  test('lists what is in it: every npm package, Node, and the libraries of the base', () => {
    const { bomFormat, components } = JSON.parse(files.get(SBOM)?.content ?? '{}') as Sbom;
    expect(bomFormat).toBe('CycloneDX');
    const listed = new Set(components.map(({ name, version }) => `${name}@${version}`));
    const installed = names()
      .filter((name) => /\/node_modules\/(?:@[^/]+\/)?[^/@]+\/package\.json$/.test(name))
      .map((name) => JSON.parse(files.get(name)!.content) as { name: string; version: string });
    expect(installed.length).toBeGreaterThan(50);
    expect(installed.filter(({ name, version }) => !listed.has(`${name}@${version}`))).toEqual([]);
    expect(listed).toContain(`node@${process.version.slice(1)}`);
  });

  test('holds no secret', () => {
    const secret =
      /-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/]{40}|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_\w{36}\b/;
    const ours = [...files].filter(([name]) => !/\/node_modules\/|\.so|\/bin\//.test(name));
    expect(ours.filter(([, { content }]) => secret.test(content)).map(([name]) => name)).toEqual([]);
    expect(names().filter((name) => /(?:^|\/)(?:\.npmrc|\.netrc|\.git|\.env)$/.test(name))).toEqual([]);
  });

  test('starts read-only, without capabilities and without a network', async () => {
    const { exitCode, output } = await runHardened(docker, image.image, { args: ['--version'] });
    expect(output.trim()).toMatch(/^\d+\.\d+\.\d+$/);
    expect(exitCode).toBe(0);
  });

  // What is missing in it would be told by its modules that cannot be loaded.
  test.each([
    ['controller', 'DATABASE_URL: is missing'],
    ['gateway', 'DATABASE_URL: is missing'],
    ['egress-proxy', 'WORMHOLE_EGRESS_GRANT_KEY: is missing'],
  ])('has all that %s loads', async (command, message) => {
    const { output } = await runHardened(docker, image.image, { args: [command, '--config', '/dev/null'] });
    expect(output).toContain(message);
    expect(output).not.toContain('ERR_MODULE_NOT_FOUND');
  });
});
