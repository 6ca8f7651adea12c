import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tenantIdSchema as controllerTenantId } from '../../controller/model/ids.ts';
import { LABELS as CONTROLLER_LABELS, MANAGED_BY as CONTROLLER_NAME } from '../../controller/model/labels.ts';
import { tenantSchema } from '../../controller/model/tenant.ts';
import { LABELS, MANAGED_BY, parseEnvironment } from '../../lib/index.ts';
import { tenantIdSchema } from '../../lib/names.ts';

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

  it('a tenant’s cap and limits, their ranges and defaults', () => {
    const near = (min: number, max: number) =>
      fc.constantFrom(min - 1, min, min + 1, max - 1, max, max + 1, 0.5);
    const tenants = fc.record(
      {
        id: fc.constant('acme'),
        maxConcurrent: near(1, 100_000),
        limits: fc.record(
          {
            cpus: fc.oneof(near(1, 64), fc.constantFrom(0.049, 0.05)),
            memoryMb: near(32, 262_144),
            tmpMb: near(1, 65_536),
          },
          { requiredKeys: [] },
        ),
      },
      { requiredKeys: ['id'] },
    );
    fc.assert(
      fc.property(tenants, (tenant) => {
        const expected = tenantSchema.safeParse(tenant);
        const parse = () => parseEnvironment('test.yaml', JSON.stringify({ tenants: [tenant] })).tenants[0]!;
        if (!expected.success) {
          expect(parse).toThrow('test.yaml: tenants[0].');
          return;
        }
        const { id, maxConcurrent, limits } = expected.data;
        const { cpus, memoryMb, tmpMb } = limits;
        expect(parse()).toEqual({ id, maxConcurrent, limits: { cpus, memoryMb, tmpMb } });
      }),
      { numRuns: 1000 },
    );
  });
});
