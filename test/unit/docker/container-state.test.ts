import { expect, test } from 'vitest';
import { identityOf } from '../../../controller/backends/attempt-labels.ts';
import { stateOf } from '../../../controller/backends/docker/container-state.ts';
import { identityLabels } from '../../../controller/backends/docker/container-spec.ts';
import { parseEvent } from '../../../controller/backends/docker/engine-watch.ts';
import { newAttempt } from '../../support/attempts.ts';

const spec = newAttempt({ attempt: 3 });
const labels = { ...identityLabels('main', spec), 'wormhole.dev/tenant-id': 'acme', image: 'x' };

test('a container is recognised by its labels', () => {
  expect(identityOf(labels)).toEqual({ runId: spec.runId, attempt: 3, tenantId: 'acme' });
});

test.each([
  ['wormhole.dev/run-id', '../../etc'],
  ['wormhole.dev/attempt', '0'],
  ['wormhole.dev/attempt', '1e3'],
  ['wormhole.dev/tenant-id', 'Acme!'],
])('labels that nobody of us wrote are nobody: %s=%s', (label, value) => {
  expect(identityOf({ ...labels, [label]: value })).toBeUndefined();
});

test.each([
  ['created', 'created'],
  ['running', 'running'],
  ['paused', 'running'],
  ['restarting', 'running'],
  ['exited', 'ended'],
  ['dead', 'ended'],
  ['removing', 'ended'],
])("the engine's %s is our %s", (engine, ours) => {
  expect(stateOf(engine)).toBe(ours);
});

const event = (fields: object): string =>
  JSON.stringify({ Type: 'container', timeNano: 1_800_000_000_123_000_000, ...fields });

test('a death is read with its exit code and time', () => {
  const line = event({ Action: 'die', Actor: { ID: 'c1', Attributes: { ...labels, exitCode: '137' } } });
  expect(parseEvent(line)).toMatchObject({
    kind: 'die',
    containerId: 'c1',
    exitCode: 137,
    at: new Date(1_800_000_000_123),
  });
});

test('a death without an exit code is a death', () => {
  expect(parseEvent(event({ Action: 'die', Actor: { ID: 'c1', Attributes: {} } }))).toMatchObject({
    kind: 'die',
    exitCode: null,
  });
});

test('events that say nothing to us are left out', () => {
  expect(
    parseEvent(event({ Action: 'exec_start: sh', Actor: { ID: 'c1', Attributes: {} } })),
  ).toBeUndefined();
  expect(parseEvent('{}')).toBeUndefined();
});
