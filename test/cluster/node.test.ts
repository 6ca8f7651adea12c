import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { docker } from '../support/docker.ts';
import { loadImage } from '../support/load-image.ts';
import { probeImage } from '../support/probe-image.ts';
import { cluster, describeWith } from '../support/requires.ts';
import { until } from '../support/cluster/until.ts';

const run = promisify(execFile);

const SECONDS = 15_000;
const SCRIPT = 'mkdir /www && exec httpd -f -p 8080 -h /www';

describeWith('a cluster of the tests', cluster, (facts) => {
  describeWith('its node', docker, (engine) => {
    const namespace = `harness-${randomBytes(4).toString('hex')}`;
    const kubectl = async (...args: string[]): Promise<string> => {
      const [program = '', ...own] = facts.kubectl;
      return (await run(program, [...own, '--namespace', namespace, ...args])).stdout;
    };
    const create = async (object: object): Promise<void> => {
      const [program = '', ...own] = facts.kubectl;
      const applying = run(program, [...own, '--namespace', namespace, 'create', '-f', '-']);
      applying.child.stdin?.end(JSON.stringify(object));
      await applying;
    };
    const connects = (address: string, port: number): Promise<boolean> =>
      kubectl('exec', 'client', '--', 'nc', '-w', '2', address, String(port)).then(
        () => true,
        () => false,
      );
    let image = '';

    beforeAll(async () => {
      image = await probeImage(engine, SCRIPT);
      await Promise.all([loadImage(facts, image), kubectl('create', 'namespace', namespace)]);
      const pod = (name: string, command: string) => ({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name, labels: { app: name } },
        spec: {
          terminationGracePeriodSeconds: 0,
          containers: [
            {
              name: 'probe',
              image,
              imagePullPolicy: 'Never',
              command: ['/bin/sh', '-c', command],
              volumeMounts: [{ name: 'token', mountPath: '/token' }],
            },
          ],
          volumes: [
            {
              name: 'token',
              projected: { sources: [{ serviceAccountToken: { audience: 'harness', path: 'token' } }] },
            },
          ],
        },
      });
      await until('the service account', SECONDS, () => kubectl('get', 'serviceaccount', 'default'));
      await create(pod('server', SCRIPT));
      await create(pod('client', 'cat /token/token; echo; exec sleep 600'));
      await create({
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'server' },
        spec: { selector: { app: 'server' }, ports: [{ port: 80, targetPort: 8080 }] },
      });
      await kubectl('wait', '--for=condition=Ready', 'pod', '--all', '--timeout=30s');
    });

    afterAll(() => kubectl('delete', 'namespace', namespace, '--wait=false'));

    test('a pod runs, its log can be read, and it got a token for its audience', async () => {
      const token = await until('its log', SECONDS, async () => {
        const log = await kubectl('logs', 'client');
        if (log === '') throw new Error('it is empty');
        return log;
      });
      const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as object;
      expect(claims).toMatchObject({
        aud: ['harness'],
        'kubernetes.io': { namespace, pod: { name: 'client' }, serviceaccount: { name: 'default' } },
      });
    });

    test('a Service leads to its pod, until a network policy denies it', async () => {
      const service = await kubectl('get', 'service', 'server', '-o', 'jsonpath={.spec.clusterIP}');
      await until('the Service', SECONDS, async () => {
        if (!(await connects(service, 80))) throw new Error('no connection');
      });

      await create({
        apiVersion: 'networking.k8s.io/v1',
        kind: 'NetworkPolicy',
        metadata: { name: 'deny-all' },
        spec: { podSelector: {}, policyTypes: ['Ingress', 'Egress'] },
      });
      await until('the network policy', SECONDS, async () => {
        if (await connects(service, 80)) throw new Error('still connected');
      });
      // Not only the Service, nor only pods: also the API server, at this machine's address.
      const [host = '', port = ''] = new URL(await server()).host.split(':');
      expect(await connects(host, Number(port))).toBe(false);

      await kubectl('delete', 'networkpolicy', 'deny-all');
      await until('the Service again', SECONDS, async () => {
        if (!(await connects(service, 80))) throw new Error('no connection');
      });
      expect(await connects(host, Number(port))).toBe(true);
    });

    test('an image that is there is not copied again, one that does not exist is an error', async () => {
      const startedAt = Date.now();
      await loadImage(facts, image);
      expect(Date.now() - startedAt).toBeLessThan(5000);
      await expect(loadImage(facts, 'wormhole-probe:none')).rejects.toThrow(/wormhole-probe:none/);
    });

    const server = (): Promise<string> =>
      kubectl('config', 'view', '-o', 'jsonpath={.clusters[0].cluster.server}');
  });
});

describe('the wait for something', () => {
  test('ends with what went wrong last', async () => {
    await expect(until('the thing', 50, () => Promise.reject(new Error('not there')))).rejects.toThrow(
      /the thing was not ready within 0.05 s: not there/,
    );
  });
});
