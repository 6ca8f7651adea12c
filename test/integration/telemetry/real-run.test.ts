import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { tenantIdSchema } from '../../../controller/model/ids.ts';
import { startPlatform } from '../../../controller/platform.ts';
import { cloneDatabase } from '../../support/database.ts';
import { dockerWithRunnerImage } from '../../support/docker.ts';
import { callFarSide, FAR_SIDE } from '../../support/far-side.ts';
import { assertNothingLeft, testConfig } from '../../support/platform.ts';
import { describeWith } from '../../support/requires.ts';
import { Collector, parseSamples } from '../../support/telemetry.ts';

const PATIENCE = { timeout: 15_000 };
const CANARY = 'hunter2-canary';

describeWith('a platform on Docker with metrics and traces', dockerWithRunnerImage, (docker) => {
  const database = cloneDatabase();

  test('measures a real run, traces it, and passes its trace on to the far side', async () => {
    const collector = await Collector.start();
    onTestFinished(() => collector[Symbol.asyncDispose]());
    const headers: IncomingHttpHeaders[] = [];
    const farSide = createServer((request, response) => {
      headers.push(request.headers);
      response.end(JSON.stringify({ secret: CANARY }));
    });
    await once(farSide.listen(0, '127.0.0.1'), 'listening');
    onTestFinished(() => void farSide.close());
    const { port: targetPort } = farSide.address() as AddressInfo;
    const config = {
      ...(await testConfig({
        docker,
        databaseUrl: (await database).url,
        tenants: { acme: 2 },
        services: [{ host: FAR_SIDE, port: 80, address: '127.0.0.1', targetPort }],
      })),
      metricsAddress: { host: '127.0.0.1', port: 0 },
      traces: { url: collector.url, headers: {} },
    };
    onTestFinished(() => assertNothingLeft(docker, config));
    const log = pino({ level: 'silent' });
    const platform = await startPlatform({ config, log, onStep: () => undefined });
    let stopped = false;
    onTestFinished(() => (stopped ? undefined : platform.stop({ drainMs: 0 })));
    const samples = async () => parseSamples(await (await fetch(platform.facts.metricsUrl!)).text());

    const { client } = platform;
    const tenantId = tenantIdSchema.parse('acme');
    const submit = { tenantId, definition: callFarSide(`?token=${CANARY}`), input: { secret: CANARY } };
    const { runId } = await client.submit(submit);
    expect(await client.waitFor(runId)).toMatchObject({ status: 'SUCCESS' });

    await expect
      .poll(
        async () => (await samples()).get('wormhole_runs_total{status="SUCCESS",reason="NONE"}'),
        PATIENCE,
      )
      .toBe(1);
    const metrics = await samples();
    expect(metrics.get('wormhole_admissions_total')).toBe(1);
    expect(metrics.get('wormhole_dispatch_lag_seconds_count')).toBeGreaterThan(0);
    expect(metrics.get('wormhole_attempts_total{mode="docker",reason="NONE"}')).toBe(1);
    expect(metrics.get('wormhole_start_latency_seconds_count{mode="docker"}')).toBe(1);
    expect(metrics.get('wormhole_start_latency_seconds_bucket{le="60",mode="docker"}')).toBe(1);
    expect(metrics.get('wormhole_gateway_requests_total{request="claim",outcome="OK"}')).toBe(1);
    expect(metrics.get('wormhole_gateway_requests_total{request="result",outcome="OK"}')).toBe(1);
    expect(metrics.get('wormhole_egress_decisions_total{verdict="allowed",reason="NONE"}')).toBe(1);
    expect(metrics.get('wormhole_slot_drift')).toBe(0);
    expect(metrics.get('wormhole_controller_leading')).toBe(1);
    expect((await fetch(platform.facts.metricsUrl!.replace('/metrics', '/readyz'))).status).toBe(200);

    // What waits is sent before the platform has stopped.
    stopped = true;
    await platform.stop({ drainMs: 0 });
    const step = collector.spans.find(({ name }) => name === 'step call')!;
    expect(collector.spans.map(({ name }) => name).toSorted()).toEqual(
      ['attempt', 'queue', 'start', 'step call', 'workflow run'].toSorted(),
    );
    expect(headers).toHaveLength(1);
    expect(headers[0]!['traceparent']).toBe(`00-${runId.replaceAll('-', '')}-${step.spanId}-01`);
    expect(step.traceId).toBe(runId.replaceAll('-', ''));
    const [run, attempt, start] = ['workflow run', 'attempt', 'start'].map((span) =>
      collector.spans.find(({ name }) => name === span)!,
    );
    expect(run!.startTimeUnixNano).toBeLessThanOrEqual(attempt!.startTimeUnixNano);
    expect(start!.endTimeUnixNano).toBe(attempt!.events.find(({ name }) => name === 'claim')!.timeUnixNano);
    expect(start!.endTimeUnixNano).toBeLessThanOrEqual(step.endTimeUnixNano);
    expect(attempt!.endTimeUnixNano).toBeLessThanOrEqual(run!.endTimeUnixNano);
    expect(collector.raw).not.toContain(CANARY);
    expect([...metrics.keys()].join('\n')).not.toContain(FAR_SIDE);
  });
});
