import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:https';
import { json } from 'node:stream/consumers';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { RunId } from '../../controller/model/ids.ts';
import { tenantIdSchema } from '../../controller/model/ids.ts';
import { DEMO_HOST } from '../../controller/demo/service.ts';
import type { RunDetail } from '../../controller/store/runs.ts';
import { until } from '../support/cluster/until.ts';
import { dockerWithRunnerImage } from '../support/docker.ts';
import { killServer } from '../support/kubernetes-own-cluster.ts';
import { PLATFORM_NAMESPACE, PlatformOnCluster } from '../support/kubernetes-platform.ts';
import { cluster, describeWith } from '../support/requires.ts';

/** A machine that has to build the images first needs minutes. */
const OPEN_MS = 600_000;
const TEST_MS = 120_000;
const RUN_MS = 90_000;
const STEP_MS = 3000;
/** From the end of the controller that leads until another one takes runs; two seconds on an idle machine. */
const TAKE_OVER_MS = 15_000;
const GATEWAY_PORT = 8443;
const PROXY_PORT = 3128;
const KUBELET_PORT = 10250;

const acme = tenantIdSchema.parse('acme');
const globex = tenantIdSchema.parse('globex');

/** Three steps of 3 s each: it reports all the time, and what was done before a fault is kept. */
const THREE_STEPS = {
  name: 'three-steps',
  steps: ['one', 'two', 'three'].map((key) => ({
    key,
    action: {
      type: 'HTTP' as const,
      method: 'GET' as const,
      endpointTemplate: `http://${DEMO_HOST}/slow`,
      query: { ms: STEP_MS },
      auth: { connection: 'canary' },
    },
  })),
  timeoutMs: 60_000,
};

describeWith('the platform under faults', dockerWithRunnerImage, (engine) => {
  // What a cluster of its own needs is what the tests' cluster needs.
  describeWith('in a cluster of its own', cluster, (facts) => {
    const canaries = { input: `canary-${randomUUID()}`, connection: `canary-${randomUUID()}` };
    let platform: PlatformOnCluster;

    beforeAll(async () => {
      platform = await PlatformOnCluster.open(engine);
      for (const tenantId of [acme, globex]) {
        // A controller is ready before it has declared the tenants.
        await until(`tenant ${tenantId}`, RUN_MS, () =>
          platform.stage.client.putConnection(tenantId, 'canary', {
            kind: 'CUSTOM_HEADER',
            headers: { 'X-Canary': canaries.connection },
          }),
        );
      }
    }, OPEN_MS);
    afterAll(() => platform[Symbol.asyncDispose]());

    const submit = async (tenantId = acme): Promise<RunId> => {
      const request = { tenantId, definition: THREE_STEPS, input: { canary: canaries.input } };
      return (await platform.stage.client.submit(request)).runId;
    };
    const untilStatus = (runId: RunId, status: RunDetail['status']): Promise<void> =>
      until(`run ${runId} to be ${status}`, RUN_MS, async () => {
        const run = await platform.stage.client.run(runId);
        if (run.status !== status) throw new Error(`it is ${run.status} ${run.message ?? ''}`);
      });
    const ended = (runId: RunId): Promise<RunDetail> =>
      platform.stage.client.waitFor(runId, AbortSignal.timeout(RUN_MS));
    /** One attempt, and every step once: nothing was done twice. */
    const expectOneSuccess = async (runId: RunId): Promise<void> => {
      const run = await ended(runId);
      expect(run).toMatchObject({ status: 'SUCCESS', reason: null, attempt: 1 });
      expect(run.attempts.map(({ number, reason }) => ({ number, reason }))).toEqual([
        { number: 1, reason: null },
      ]);
      expect(run.steps.map(({ status, tries }) => ({ status, tries }))).toEqual(
        THREE_STEPS.steps.map(() => ({ status: 'SUCCESS', tries: 1 })),
      );
    };
    const logOf = (namespace: string, pod: string): Promise<string> =>
      platform.kubectl(['logs', `--namespace=${namespace}`, pod]);
    const leaders = async (): Promise<string[]> => {
      const pods = await platform.podsOf('controller');
      const logs = await Promise.all(
        pods.map(async ({ metadata }) => ({
          name: metadata.name,
          log: await logOf(PLATFORM_NAMESPACE, metadata.name).catch(() => ''),
        })),
      );
      return logs.filter(({ log }) => log.includes('taking runs')).map(({ name }) => name);
    };
    const deletePod = (namespace: string, name: string): Promise<string> =>
      platform.kubectl([
        ...['delete', 'pod', name, `--namespace=${namespace}`, '--grace-period=0', '--force'],
      ]);

    test(
      'a run survives the controller that started it, and another one ends it',
      async () => {
        const runId = await submit();
        await untilStatus(runId, 'RUNNING');
        const [leader = ''] = await leaders();
        const deletedAt = Date.now();
        await deletePod(PLATFORM_NAMESPACE, leader);
        const queued = await submit(globex);
        await until('the other controller', 30_000, async () => {
          const others = (await leaders()).filter((name) => name !== leader);
          expect(others).toHaveLength(1);
        });
        expect(Date.now() - deletedAt).toBeLessThan(TAKE_OVER_MS);
        await untilStatus(queued, 'RUNNING');
        await expectOneSuccess(runId);
        await expectOneSuccess(queued);
      },
      TEST_MS,
    );

    test(
      'a run survives the gateway that it talks to',
      async () => {
        const runId = await submit();
        await untilStatus(runId, 'RUNNING');
        for (const { metadata } of await platform.podsOf('gateway')) {
          await deletePod(PLATFORM_NAMESPACE, metadata.name);
        }
        await expectOneSuccess(runId);
      },
      TEST_MS,
    );

    test(
      'runs survive the API server, and what is submitted while it is away runs',
      async () => {
        const runId = await submit();
        await untilStatus(runId, 'RUNNING');
        killServer(platform.stage.cluster, 'kube-apiserver');
        const during = await submit();
        await expectOneSuccess(runId);
        await expectOneSuccess(during);
      },
      TEST_MS,
    );

    test(
      'a run that no node takes is canceled at once, and nothing of it stays',
      async () => {
        const node = (await platform.kubectl(['get', 'nodes', '--output=name'])).trim();
        await platform.kubectl(['cordon', node]);
        onTestFinished(async () => {
          await platform.kubectl(['uncordon', node]);
        });
        const runId = await submit();
        await until('its pod', 20_000, async () => {
          const pods = await platform.podsOfRun(acme, runId);
          expect(pods.map(({ status }) => status.phase)).toEqual(['Pending']);
        });
        await platform.stage.client.cancel(runId);
        expect(await ended(runId)).toMatchObject({ status: 'CANCELED', reason: 'CANCELED', attempt: 1 });
        await until('the end of its objects', 20_000, async () => {
          const left = await platform.kubectl([
            ...['get', 'jobs,pods', '--namespace=wormhole-run-acme', '--output=name'],
            `--selector=wormhole.dev/run-id=${runId}`,
          ]);
          expect(left).toBe('');
        });
      },
      TEST_MS,
    );

    test(
      'nothing that a run is given is in the cluster, and nobody else gets in',
      async () => {
        const runId = await submit();
        await untilStatus(runId, 'RUNNING');
        const objects = await platform.kubectl([
          ...['get', 'jobs,pods,events,configmaps,secrets,serviceaccounts', '--output=json'],
          '--namespace=wormhole-run-acme',
        ]);
        expect(objects).toContain(runId);
        for (const canary of Object.values(canaries)) expect(objects).not.toContain(canary);
        // A token of Kubernetes' or of ours; the second is what a Secret begins with in JSON.
        expect(objects).not.toMatch(/eyJ[\w-]{10}|"kind": "Secret"/);

        const pod = await platform.podWithAddress(acme, runId);
        const hostile = (change: (spec: Record<string, unknown>) => object): Promise<string> => {
          const spec = { ...pod.spec, nodeName: undefined };
          const { labels, annotations, ownerReferences } = pod.metadata;
          // Another pod of the same Job, as far as its name tells.
          const name = pod.metadata.name.replace(/.{5}$/, 'bcdfg');
          const metadata = { name, namespace: 'wormhole-run-acme', labels, annotations, ownerReferences };
          const object = { apiVersion: 'v1', kind: 'Pod', metadata, spec: { ...spec, ...change(spec) } };
          return platform.kubectl(['create', '--dry-run=server', '-f', '-'], JSON.stringify(object));
        };
        // The pod itself is no such thing: it is what is changed that is refused.
        expect(await hostile(() => ({}))).toContain('created');
        await expect(
          hostile(({ containers }) => ({
            containers: [{ ...(containers as object[])[0], image: 'wormhole-control-plane:dev' }],
          })),
        ).rejects.toThrow(/ValidatingAdmissionPolicy.*image/s);
        await expect(
          platform.kubectl(['exec', `--namespace=wormhole-run-acme`, pod.metadata.name, '--', 'id']),
        ).rejects.toThrow(/nobody enters a run/);
        await expect(
          platform.kubectl([
            ...['run', 'stranger', '--namespace=wormhole-run-acme', '--restart=Never'],
            '--image=wormhole-control-plane:dev',
          ]),
        ).rejects.toThrow(/forbidden/);

        const gateway = await portForward();
        // The genuine token of a run that has claimed already, and of a run that is somebody else's.
        const stolen = (
          await platform.kubectl([
            ...['create', 'token', 'wormhole-runner', '--namespace=wormhole-run-acme'],
            ...['--audience=wormhole-gateway', '--bound-object-kind=Pod'],
            `--bound-object-name=${pod.metadata.name}`,
          ])
        ).trim();
        const claim = { runnerVersion: '0.1.0' };
        const headers = { 'wormhole-pod-token': stolen };
        expect(await post(gateway, '/v1/claim', headers, claim)).toMatchObject({
          status: 409,
          body: { error: { code: 'CLAIM_REFUSED' } },
        });
        const forged = { ...headers, authorization: `Bearer ${randomUUID()}` };
        const report = { sequence: 1, steps: [], logs: [], droppedLogs: 0 };
        expect((await post(gateway, '/v1/report', forged, report)).status).toBe(401);
        expect((await post(gateway, '/v1/claim', {}, claim)).status).toBe(401);
        const other = (
          await platform.kubectl([
            ...['create', 'token', 'wormhole-runner', '--namespace=wormhole-run-acme'],
            ...['--bound-object-kind=Pod', `--bound-object-name=${pod.metadata.name}`],
          ])
        ).trim();
        expect((await post(gateway, '/v1/claim', { 'wormhole-pod-token': other }, claim)).status).toBe(401);
        await expectOneSuccess(runId);
      },
      TEST_MS,
    );

    test(
      'from inside a run the gateway and the proxy can be reached, and nothing else',
      async () => {
        await platform.replaceRunner(
          "trap 'exit 0' TERM; httpd -p 8080; nc -w 2 127.0.0.1 8080 </dev/null && echo up; sleep 60 & wait",
        );
        const neighbours = [
          { tenantId: acme, runId: await submit(acme) },
          { tenantId: globex, runId: await submit(globex) },
        ];
        const [own, other] = await Promise.all(
          neighbours.map(async ({ tenantId, runId }) => {
            const pod = await platform.podWithAddress(tenantId, runId);
            await until('its server', 20_000, async () => {
              expect(await logOf(pod.metadata.namespace, pod.metadata.name)).toContain('up');
            });
            return pod.address;
          }),
        );
        const [gateway, proxy, apiServer] = await Promise.all(
          [
            [PLATFORM_NAMESPACE, 'wormhole-gateway'],
            [PLATFORM_NAMESPACE, 'wormhole-egress-proxy'],
            ['default', 'kubernetes'],
          ].map(([namespace = '', name = '']) =>
            platform.kubectl([
              ...['get', 'service', name, `--namespace=${namespace}`],
              '--output=jsonpath={.spec.clusterIP}',
            ]),
          ),
        );
        const node = await platform.kubectl([
          ...[
            'get',
            'nodes',
            "--output=jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}",
          ],
        ]);
        const { nodeAddress } = platform.stage.cluster;
        const controller = (await platform.podsOf('controller'))[0]?.status.podIP ?? '';
        const open = { gateway: `${gateway} ${GATEWAY_PORT}`, proxy: `${proxy} ${PROXY_PORT}` };
        const closed = {
          'API server': `${apiServer} 443`,
          'API server by its address': `${nodeAddress} 6443`,
          kubelet: `${node} ${KUBELET_PORT}`,
          'the database': `${nodeAddress} ${new URL(platform.stage.databaseUrl).port}`,
          'run of the same tenant': `${own} 8080`,
          'run of another tenant': `${other} 8080`,
          'probes of the controller': `${controller} 8081`,
          metadata: '169.254.169.254 80',
          'name service': '8.8.8.8 53',
          internet: '1.1.1.1 443',
        };
        const targets = Object.values({ ...open, ...closed });
        // All at once: what is dropped takes its time. The first is tried until the policy of this pod is in force.
        await platform.replaceRunner(
          [
            "trap 'exit 0' TERM",
            `until nc -w 2 ${open.gateway} </dev/null; do sleep 0.2; done; sleep 2`,
            ...targets.map(
              (target) =>
                `{ nc -w 4 ${target} </dev/null && echo "open ${target}" || echo "closed ${target}"; } &`,
            ),
            'wait; nslookup wormhole-gateway.wormhole-system.svc >/dev/null 2>&1 && echo "open names" || echo "closed names"',
            'echo done; sleep 60 & wait',
          ].join('\n'),
        );
        const runId = await submit(acme);
        const pod = await platform.podWithAddress(acme, runId);
        const log = await until('what it found', 60_000, async () => {
          const text = await logOf(pod.metadata.namespace, pod.metadata.name);
          expect(text).toContain('done');
          return text.split('\n');
        });
        for (const target of Object.values(open)) expect(log).toContain(`open ${target}`);
        for (const [what, target] of Object.entries(closed)) expect(log, what).toContain(`closed ${target}`);
        expect(log).toContain('closed names');
        for (const id of [runId, ...neighbours.map((run) => run.runId)]) {
          await platform.stage.client.cancel(id);
          await ended(id);
        }
      },
      TEST_MS,
    );

    /** @returns the port on this machine that leads into the gateway's pod. */
    async function portForward(): Promise<number> {
      const [program = '', ...own] = facts.kubectl;
      const child = spawn(
        program,
        [
          ...[...own, `--kubeconfig=${platform.stage.cluster.kubeconfig}`, 'port-forward'],
          ...[`--namespace=${PLATFORM_NAMESPACE}`, 'service/wormhole-gateway', `:${GATEWAY_PORT}`],
        ],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      onTestFinished(async () => {
        const exited = once(child, 'exit');
        child.kill();
        await exited;
      });
      const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
      return Number(/127\.0\.0\.1:(\d+)/.exec(line)?.[1]);
    }
  });
});

async function post(
  port: number,
  path: string,
  headers: Readonly<Record<string, string>>,
  body: unknown,
): Promise<{ status: number | undefined; body: unknown }> {
  return await new Promise((resolve, reject) => {
    const sending = request(
      {
        ...{ host: '127.0.0.1', port, path, method: 'POST' },
        headers: { 'content-type': 'application/json', ...headers },
        // Its certificate is for the name that pods know it by.
        rejectUnauthorized: false,
      },
      (response) => {
        json(response).then((answer) => resolve({ status: response.statusCode, body: answer }), reject);
      },
    );
    sending.on('error', reject).end(JSON.stringify(body));
  });
}
