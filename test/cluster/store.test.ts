import { existsSync, readFileSync } from 'node:fs';
import { get } from 'node:https';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { apiServer, describeWith } from '../support/requires.ts';

/** @returns the status of an answer, or the error of a connection that is refused. */
const ask = async (url: string, credentials: { cert?: Buffer; key?: Buffer }): Promise<number | string> =>
  await new Promise((resolve) => {
    const request = get(url, { ...credentials, rejectUnauthorized: false }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });

describeWith('the store of a test cluster', apiServer, ({ kubeconfig }) => {
  const folder = dirname(kubeconfig);

  // A cluster of somebody else keeps its store elsewhere.
  test.skipIf(!existsSync(join(folder, 'etcd.pid')))(
    'answers the API server and nobody else on the machine',
    async () => {
      const pid = readFileSync(join(folder, 'etcd.pid'), 'utf8').trim();
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      const [, url] = /--listen-client-urls=([^\0]+)/.exec(command) ?? [];
      expect(await ask(`${url}/version`, {})).toMatch(/ERR_SSL|ECONNRESET/);
      const [cert, key] = ['etcd.crt', 'etcd.key'].map((name) => readFileSync(join(folder, name)));
      expect(await ask(`${url}/version`, { cert: cert!, key: key! })).toBe(200);
    },
  );
});
