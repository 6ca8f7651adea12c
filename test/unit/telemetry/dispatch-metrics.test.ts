import { expect, test } from 'vitest';
import { newRunId, tenantIdSchema, type TenantId } from '../../../controller/model/ids.ts';
import { DispatchMetrics } from '../../../controller/telemetry/dispatch-metrics.ts';
import { EgressMetrics } from '../../../controller/telemetry/egress-metrics.ts';
import { Metrics } from '../../../controller/telemetry/metrics.ts';
import { samplesOf } from '../../support/telemetry.ts';

const tenant = (id: string): TenantId => tenantIdSchema.parse(id);
const NOBODY = { window: Infinity, heldMs: 0 };

test('admissions, lag and refused starts are counted', async () => {
  const metrics = new Metrics({ labelledTenants: 10 });
  const dispatch = new DispatchMetrics(metrics);
  dispatch.admitted(3, 4);
  dispatch.admitted(2, 700);
  dispatch.refused('QUOTA_EXCEEDED');
  const samples = await samplesOf(metrics);
  expect(samples.get('wormhole_admissions_total')).toBe(5);
  expect(samples.get('wormhole_dispatch_lag_seconds_count')).toBe(2);
  expect(samples.get('wormhole_dispatch_lag_seconds_bucket{le="0.005"}')).toBe(1);
  expect(samples.get('wormhole_starts_refused_total{reason="QUOTA_EXCEEDED"}')).toBe(1);
});

test('slots and live containers are those of the last comparison', async () => {
  const metrics = new Metrics({ labelledTenants: 10 });
  const dispatch = new DispatchMetrics(metrics);
  const refs = [1, 2, 3].map(() => ({ runId: newRunId(), attempt: 1 }));
  const container = { ...refs[0]!, tenantId: tenant('acme'), containerId: 'c' };
  dispatch.compared(refs, [
    { ...container, state: 'running' },
    { ...container, ...refs[1]!, state: 'ended' },
  ]);
  const samples = await samplesOf(metrics);
  expect(samples.get('wormhole_slots')).toBe(3);
  expect(samples.get('wormhole_containers_live')).toBe(1);
  expect(samples.get('wormhole_slot_drift')).toBe(0);
  expect(samples.get('wormhole_slots_compared_timestamp_seconds')).toBeGreaterThan(Date.now() / 1000 - 60);
});

test('who is held back is told as long as it is, and never more tenants than have a label', async () => {
  const metrics = new Metrics({ labelledTenants: 1 });
  const dispatch = new DispatchMetrics(metrics);
  let readings = {
    platform: NOBODY,
    tenants: [
      { tenantId: tenant('short'), window: 1, heldMs: 250 },
      { tenantId: tenant('long'), window: 4, heldMs: 1500 },
      { tenantId: tenant('open'), window: 2, heldMs: 0 },
    ],
  };
  dispatch.pressure(() => readings);
  const held = await samplesOf(metrics);
  const names = (samples: Map<string, number>): string[] =>
    [...samples.keys()].filter((name) => name.startsWith('wormhole_backpressure'));
  expect(held.get('wormhole_backpressure_hold_seconds{scope="tenant",tenant="long"}')).toBe(1.5);
  expect(held.get('wormhole_backpressure_window{scope="tenant",tenant="long"}')).toBe(4);
  expect(held.get('wormhole_backpressure_window{scope="tenant",tenant="_other"}')).toBe(3);
  expect(held.get('wormhole_backpressure_hold_seconds{scope="tenant",tenant="_other"}')).toBe(0.25);
  expect(names(held)).toHaveLength(4);

  readings = { platform: { window: 8, heldMs: 30_000 }, tenants: [] };
  const platform = await samplesOf(metrics);
  expect(platform.get('wormhole_backpressure_hold_seconds{scope="platform",tenant=""}')).toBe(30);
  expect(names(platform)).toHaveLength(2);

  readings = { platform: NOBODY, tenants: [] };
  expect(names(await samplesOf(metrics))).toEqual([]);
});

test('egress decisions are counted by verdict and by tenant, never by host, for a bounded number of tenants', async () => {
  const metrics = new Metrics({ labelledTenants: 1 });
  const egress = new EgressMetrics(metrics);
  const record = {
    ...{ runId: null, attempt: null, method: 'GET', port: 443, address: null, dropped: null, at: new Date() },
    host: 'secret-host.example',
  };
  egress.decided({ ...record, tenantId: tenant('first'), allowed: true, reason: null });
  egress.decided({ ...record, tenantId: tenant('second'), allowed: false, reason: 'HOST_NOT_ALLOWED' });
  egress.decided({ ...record, tenantId: tenant('first'), allowed: false, reason: 'HOST_NOT_ALLOWED' });
  egress.decided({ ...record, tenantId: null, allowed: false, reason: 'GRANT_INVALID' });
  const samples = await samplesOf(metrics);
  const byTenant = (id: string, verdict: string) =>
    samples.get(`wormhole_egress_tenant_decisions_total{tenant="${id}",verdict="${verdict}"}`);
  expect(samples.get('wormhole_egress_decisions_total{verdict="denied",reason="HOST_NOT_ALLOWED"}')).toBe(2);
  expect(samples.get('wormhole_egress_decisions_total{verdict="allowed",reason="NONE"}')).toBe(1);
  expect([byTenant('first', 'allowed'), byTenant('first', 'denied')]).toEqual([1, 1]);
  expect(byTenant('_other', 'denied')).toBe(2);
  expect((await metrics.read()).text).not.toContain('secret-host');
});
