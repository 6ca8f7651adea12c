import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { k8s } from '../../imports/k8s.ts';
import { TenantQuota, type RunSize } from '../../lib/index.ts';
import { milliOf } from './quantity.ts';
import { manifestsOf, REQUIRED_PROPS, runJobManifest, type Manifest } from './run-job-manifest.ts';

type Amounts = Readonly<Record<string, string | number>>;
type Container = Manifest<k8s.Container>;

const render = (maxConcurrent: number, size: RunSize) => {
  const [quota, limits] = manifestsOf((chart) => {
    new TenantQuota(chart, 'quota', {
      tenantId: 'acme',
      instance: 'wormhole',
      namespace: 'wormhole-run-acme',
      maxConcurrent,
      size,
    });
  }) as [{ spec: { hard: Amounts } }, { spec: { limits: unknown } }];
  return { hard: quota.spec.hard, limits: limits.spec.limits };
};

const containerOf = (size: RunSize): Container =>
  runJobManifest({ ...REQUIRED_PROPS, size }).spec.template.spec!.containers[0]!;

/** What the quota admission counts for `pods` live pods of one container each. */
const usageOf = (container: Container, pods: number): Map<string, bigint> => {
  const usage = new Map([['pods', BigInt(pods) * 1000n]]);
  for (const kind of ['requests', 'limits'] as const) {
    for (const [resource, amount] of Object.entries(container.resources![kind]!)) {
      usage.set(`${kind}.${resource}`, milliOf(amount) * BigInt(pods));
    }
  }
  return usage;
};

const exceeded = (hard: Amounts, usage: Map<string, bigint>): string[] =>
  Object.entries(hard)
    .filter(([resource, amount]) => (usage.get(resource) ?? 0n) > milliOf(amount))
    .map(([resource]) => resource);

const cpus = fc.double({ min: 0.05, max: 64, noNaN: true });
const memoryMb = fc.integer({ min: 32, max: 262_144 });
const sizes = fc.record({ cpus, memoryMb, tmpMb: fc.integer({ min: 1, max: 65_536 }) });
const caps = fc.integer({ min: 1, max: 100_000 });

describe('TenantQuota', () => {
  it('has room for the cap and not for one run more, in every resource, whatever cap and size are', () => {
    fc.assert(
      fc.property(caps, sizes, (cap, size) => {
        const { hard } = render(cap, size);
        const container = containerOf(size);
        expect(exceeded(hard, usageOf(container, cap))).toEqual([]);
        expect(exceeded(hard, usageOf(container, cap + 1)).sort()).toEqual([
          'limits.cpu',
          'limits.ephemeral-storage',
          'limits.memory',
          'pods',
          'requests.cpu',
          'requests.ephemeral-storage',
          'requests.memory',
        ]);
      }),
      { numRuns: 500 },
    );
  });

  it('holds the cap also when runs are smaller than the tenant’s largest', () => {
    fc.assert(
      fc.property(caps, sizes, cpus, memoryMb, (cap, size, smallerCpus, smallerMemoryMb) => {
        const { hard } = render(cap, size);
        const smaller = containerOf({
          cpus: Math.min(size.cpus, smallerCpus),
          memoryMb: Math.min(size.memoryMb, smallerMemoryMb),
        });
        expect(exceeded(hard, usageOf(smaller, cap))).toEqual([]);
        expect(exceeded(hard, usageOf(smaller, cap + 1))).toContain('pods');
      }),
      { numRuns: 300 },
    );
  });

  it('limits containers and pods to the size of a run, and gives containers without limits that size', () => {
    fc.assert(
      fc.property(sizes, (size) => {
        const run = containerOf(size).resources!.limits;
        expect(render(1, size).limits).toEqual([
          { type: 'Container', default: run, defaultRequest: run, max: run },
          { type: 'Pod', max: run },
        ]);
      }),
      { numRuns: 300 },
    );
  });

  it('gives a tenant neither services nor volumes', () => {
    expect(render(1, {}).hard).toMatchObject({ services: '0', persistentvolumeclaims: '0' });
  });

  it('writes quantities as the API server writes them back', () => {
    expect(render(4, { cpus: 0.5, memoryMb: 512 }).hard).toMatchObject({
      'limits.cpu': '2',
      'limits.memory': '2Gi',
      'limits.ephemeral-storage': '256Mi',
      pods: '4',
    });
    expect(render(3, { cpus: 0.07, memoryMb: 100 }).hard).toMatchObject({
      'limits.cpu': '210m',
      'limits.memory': '300Mi',
    });
  });
});
