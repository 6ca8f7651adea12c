import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { spawnCluster, type SpawnedCluster } from '../support/cluster/spawned-cluster.ts';
import { SIMULATED } from '../support/cluster/simulated-nodes.ts';
import { until } from '../support/cluster/until.ts';
import { apiServer, describeWith } from '../support/requires.ts';

const run = promisify(execFile);
const AUDITED_MS = 10_000;
/** kwok may have to be built. */
const START_MS = 600_000;

interface AuditEvent {
  readonly verb: string;
  readonly userAgent: string;
  readonly objectRef?: { readonly resource: string; readonly name?: string };
}

describeWith('a control plane with simulated nodes', apiServer, () => {
  let cluster: SpawnedCluster;
  const kubectl = async (args: readonly string[], input?: object): Promise<string> => {
    const [program = '', ...own] = cluster.facts.kubectl;
    const running = run(program, [...own, ...args]);
    running.child.stdin?.end(input === undefined ? '' : JSON.stringify(input));
    return (await running).stdout;
  };

  beforeAll(async () => {
    const spawned = await spawnCluster(['--control-plane-only', '--simulated-nodes', '2'], () => undefined);
    if ('missing' in spawned) throw new Error(spawned.missing);
    cluster = spawned.value;
  }, START_MS);
  afterAll(() => cluster.stop());

  test('completes Jobs that ask for them, keeps other pods off, and says who wrote what', async () => {
    const containers = [{ name: 'none', image: 'none' }];
    await kubectl(['create', '-f', '-'], {
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'simulated' },
      spec: {
        template: {
          spec: {
            restartPolicy: 'Never',
            nodeSelector: { [SIMULATED]: 'true' },
            tolerations: [{ key: SIMULATED, operator: 'Exists' }],
            containers,
          },
        },
      },
    });
    await kubectl(['create', '-f', '-'], {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'other' },
      spec: { containers },
    });
    await kubectl(['wait', 'job/simulated', '--for=condition=Complete', '--timeout=30s']);
    await kubectl(['wait', 'pod/other', '--for=condition=PodScheduled=False', '--timeout=30s']);

    await until('the audit log', AUDITED_MS, () => {
      const events = readFileSync(cluster.facts.auditLog ?? '', 'utf8')
        .trim()
        .split('\n');
      const created = events
        .map((line) => JSON.parse(line) as AuditEvent)
        .filter(({ verb, objectRef }) => verb === 'create' && objectRef?.resource === 'jobs');
      expect(created.map(({ userAgent, objectRef }) => [userAgent.split('/')[0], objectRef?.name])).toEqual([
        [expect.stringMatching(/^kube/), 'simulated'],
      ]);
      return Promise.resolve();
    });
  });
});
