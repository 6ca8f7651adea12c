import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { internalServiceSchema as controllerInternalService } from '../../controller/egress/internal-service.ts';
import { tenantIdSchema as controllerTenantId } from '../../controller/model/ids.ts';
import { LABELS as CONTROLLER_LABELS, MANAGED_BY as CONTROLLER_NAME } from '../../controller/model/labels.ts';
import { tenantSchema } from '../../controller/model/tenant.ts';
import { LABELS, MANAGED_BY, parseEnvironment } from '../../lib/index.ts';
import { tenantIdSchema } from '../../lib/names.ts';
import { DIGEST } from './run-job-manifest.ts';

const IMAGES = { runner: `runner@${DIGEST}`, controlPlane: `control-plane@${DIGEST}` };

// lib/ imports nothing of controller/, so what both must agree on is written twice and compared here.
describe('lib and controller agree on', () => {
  it('labels', () => {
    expect(CONTROLLER_LABELS).toMatchObject(LABELS);
    expect(MANAGED_BY).toBe(CONTROLLER_NAME);
  });

  it('tenant ids', () => {
    const nearIds = fc.stringMatching(/^[-a-z0-9A.\n]{0,52}$/);
    fc.assert(
      fc.property(fc.oneof(nearIds, fc.string()), (id) => {
        expect(tenantIdSchema.safeParse(id).success).toBe(controllerTenantId.safeParse(id).success);
      }),
      { numRuns: 2000 },
    );
  });

  it('a tenant: keys, ranges and defaults', () => {
    const near = (min: number, max: number) =>
      fc.constantFrom(min - 1, min, min + 1, max - 1, max, max + 1, 0.5);
    const hosts = fc.oneof(
      fc.constantFrom(
        'api.example.com',
        '*.example.com',
        '*',
        '10.0.0.1',
        '1.2',
        'a..b',
        'a_b',
        `${'a.'.repeat(126)}a`,
      ),
      fc.stringMatching(/^(\*\.)?[-a-z0-9.A_]{0,70}$/),
    );
    const egress = fc.record(
      {
        mode: fc.constantFrom('deny', 'allowlist', 'unrestricted', 'allow'),
        allow: fc.array(
          fc.record({ host: hosts, ports: fc.array(near(1, 65_535)) }, { requiredKeys: ['host'] }),
          {
            maxLength: 2,
          },
        ),
      },
      { requiredKeys: [] },
    );
    const limits = fc.record(
      {
        cpus: fc.oneof(near(1, 64), fc.constantFrom(0.049, 0.05)),
        memoryMb: near(32, 262_144),
        pids: near(8, 32_768),
        tmpMb: near(1, 65_536),
      },
      { requiredKeys: [] },
    );
    // One key at a time is near its edges, so that most tenants are wrong in one way at most.
    const tenants = fc.oneof(
      fc.record({ maxConcurrent: near(1, 100_000) }),
      fc.record({ maxQueued: near(0, 10_000_000) }),
      fc.record({ weight: near(1, 1000) }),
      fc.record({ priority: fc.constantFrom('high', 'low', 'urgent') }),
      fc.record({ whenFull: fc.constantFrom('reject', 'wait', 'drop') }),
      fc.record({ startRate: fc.record({ max: near(1, 10_000), durationMs: near(100, 3_600_000) }) }),
      fc.record({ maxTimeoutMs: near(1000, 86_400_000) }),
      fc.record({ limits }),
      fc.record({ egress }),
      fc.record({ unknown: fc.constant(1) }),
    );
    let accepted = 0;
    fc.assert(
      fc.property(tenants, (settings) => {
        const tenant = { id: 'acme', ...settings };
        const expected = tenantSchema.safeParse(tenant);
        const environment = { images: IMAGES, maxConcurrent: 100_000, tenants: [tenant] };
        const parse = () => parseEnvironment('test.yaml', JSON.stringify(environment)).tenants[0]!;
        if (!expected.success) {
          expect(parse).toThrow('test.yaml: tenants[0].');
          return;
        }
        accepted += 1;
        expect(parse()).toEqual(expected.data);
      }),
      { numRuns: 2000 },
    );
    expect(accepted).toBeGreaterThan(300);
  });

  it('internal services: what synth takes, the egress proxy takes', () => {
    const services = fc.record({
      host: fc.oneof(
        fc.stringMatching(/^[-a-z0-9.x_]{1,20}$/),
        fc.constantFrom('crm.internal', '0x7f.1', '1.2.3.4'),
      ),
      port: fc.constantFrom(80, 443, 8080, 0, 65_536),
      address: fc.oneof(fc.ipV4(), fc.ipV6(), fc.constantFrom('crm', '10.0.0.1/8')),
      targetPort: fc.constant(8080),
    });
    let accepted = 0;
    fc.assert(
      fc.property(services, (service) => {
        const environment = { images: IMAGES, tenants: [{ id: 'acme' }], internalServices: [service] };
        try {
          parseEnvironment('test.yaml', JSON.stringify(environment));
        } catch {
          return;
        }
        accepted += 1;
        expect(controllerInternalService.parse(service)).toEqual(service);
      }),
      { numRuns: 2000 },
    );
    expect(accepted).toBeGreaterThan(100);
  });
});
