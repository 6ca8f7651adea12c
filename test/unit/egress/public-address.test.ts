import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { describeWith, type Requirement } from '../../support/requires.ts';

const LISTENING = '93.184.216.34';
const DEAF = '93.184.216.35';
const run = promisify(execFile);

/** Runs a command in a network namespace of its own, in which two public addresses are ours. */
const inNamespace = async (...command: string[]): Promise<string> => {
  const setUp = `ip link set lo up && ip addr add ${LISTENING}/32 dev lo && ip addr add ${DEAF}/32 dev lo && exec "$@"`;
  const { stdout } = await run('unshare', ['--net', 'sh', '-c', setUp, 'sh', ...command]);
  return stdout;
};

const networkNamespace: Requirement<typeof inNamespace> = () =>
  inNamespace('true').then(
    () => ({ value: inNamespace }),
    () => ({ missing: 'the right to make a network namespace (root, unshare and ip)' }),
  );

describeWith('a public name', networkNamespace, (inside) => {
  it('is connected to at the addresses that were checked, in their order, whatever it resolves to later', async () => {
    const output = await inside(
      process.execPath,
      join(import.meta.dirname, 'public-network.ts'),
      LISTENING,
      DEAF,
    );
    expect(JSON.parse(output)).toEqual({
      connectedTo: LISTENING,
      askedOnce: 1,
      second: expect.stringContaining('not at a public address') as string,
      own: expect.stringContaining('not at a public address') as string,
      arrivals: [LISTENING],
    });
  });
});
