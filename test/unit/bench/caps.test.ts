import { expect, test } from 'vitest';
import { countCapViolations } from '../../../bench/caps.ts';

const caps = {
  global: 3,
  byTenant: new Map([
    ['acme', 2],
    ['globex', 2],
  ]),
};

const container = (tenantId: string, started?: number, died?: number) => ({
  ...{ containerId: '', name: '', instance: '', tenantId },
  ...(started !== undefined && { started }),
  ...(died !== undefined && { died }),
});

test('as many as allowed are no violation', () => {
  const containers = [container('acme', 1, 5), container('acme', 2, 5), container('globex', 3, 6)];
  expect(countCapViolations(containers, caps)).toBe(0);
});

test('a start with the tenant’s cap full is one', () => {
  const containers = [container('acme', 1, 5), container('acme', 2, 5), container('acme', 4, 6)];
  expect(countCapViolations(containers, caps)).toBe(1);
});

test('a start with the global cap full is one', () => {
  const containers = ['acme', 'acme', 'globex', 'globex'].map((tenantId, at) => container(tenantId, at, 9));
  expect(countCapViolations(containers, caps)).toBe(1);
});

test('a place that is freed at the same instant may be taken', () => {
  const containers = [container('acme', 5, 6), container('acme', 1, 5), container('acme', 1, 9)];
  expect(countCapViolations(containers, caps)).toBe(0);
});

test('a container that never died holds its place, and one that never started holds none', () => {
  const stuck = [container('acme', 1), container('acme', 1), container('acme', 100, 101)];
  expect(countCapViolations(stuck, caps)).toBe(1);
  expect(countCapViolations([container('acme'), ...stuck.slice(1)], caps)).toBe(0);
});

test('a tenant that has no cap may start nothing', () => {
  expect(countCapViolations([container('stranger', 1, 2)], caps)).toBe(1);
});
