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

/**
 * What the quota admission counts for live pods of one container each. Beside the container's resources, those of its
 * runtime class: https://kubernetes.io/docs/concepts/scheduling-eviction/pod-overhead/
 */
const usageOf = (container: Container, pods: number, overhead = 0n): Map<string, bigint> => {
  const usage = new Map([['pods', BigInt(pods) * 1000n]]);
  for (const kind of ['requests', 'limits'] as const) {
    for (const [resource, amount] of Object.entries(container.resources![kind]!)) {
      usage.set(`${kind}.${resource}`, (milliOf(amount) + overhead) * BigInt(pods));
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
  it('has room for the cap and not for one run more, whatever cap, size and runtime class are', () => {
    const overheads = fc.bigInt({ min: 0n, max: milliOf('1Gi') });
    fc.assert(
      fc.property(caps, sizes, overheads, (cap, size, overhead) => {
        const { hard } = render(cap, size);
        const container = containerOf(size);
        expect(exceeded(hard, usageOf(container, cap, overhead))).toEqual([]);
        expect(exceeded(hard, usageOf(container, cap + 1, overhead))).toEqual(['pods']);
      }),
      { numRuns: 300 },
    );
  });

  it('has room for the Jobs that honest runs leave behind', () => {
    fc.assert(
      fc.property(caps, (cap) => {
        const { ttlSecondsAfterFinished } = runJobManifest(REQUIRED_PROPS).spec;
        const shortestRunSeconds = 0.5;
        const left = (cap * ttlSecondsAfterFinished!) / shortestRunSeconds;
        const jobs = Number(render(cap, {}).hard['count/jobs.batch']);
        expect(jobs).toBeGreaterThan(left + cap);
        expect(jobs).toBeLessThan(2 * left);
      }),
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
    const { hard } = render(4, {});
    expect(hard).toMatchObject({ pods: '4', 'count/jobs.batch': '4000' });
    const [container] = render(1, { cpus: 0.5, memoryMb: 2048 }).limits as { max: object }[];
    expect(container!.max).toEqual({ cpu: '500m', memory: '2Gi', 'ephemeral-storage': '64Mi' });
    const [odd] = render(1, { cpus: 0.07, memoryMb: 100 }).limits as { max: object }[];
    expect(odd!.max).toMatchObject({ cpu: '70m', memory: '100Mi' });
  });
});
