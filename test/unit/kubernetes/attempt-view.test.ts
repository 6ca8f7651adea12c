import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { AttemptView } from '../../../controller/backends/kubernetes/attempt-view.ts';
import type { Observation, TenantAttempt } from '../../../controller/backends/types.ts';
import { JOB_UID, pod, REF, running, terminated, type PodParts } from './pods.ts';

const ref = REF as unknown as TenantAttempt;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function makeView(): { view: AttemptView; observed: Observation[]; kinds: () => string[] } {
  const observed: Observation[] = [];
  const view = new AttemptView({
    tenantId: 'acme',
    onObservation: (observation) => void observed.push(observation),
    unschedulableTimeoutMs: 30_000,
  });
  return { view, observed, kinds: () => observed.map((o) => (o.kind === 'ended' ? o.exit.kind : o.kind)) };
}
const changed = (parts?: PodParts) => ({ kind: 'changed', pod: pod(parts) }) as const;

test('an attempt whose Job was made is pending at once', () => {
  const { view } = makeView();
  view.expect(ref, JOB_UID);
  expect(view.list()).toEqual([{ ...REF, containerId: JOB_UID, state: 'pending' }]);
});

test('what is told twice is observed once, but for lists, which repeat it', () => {
  const { view, observed, kinds } = makeView();
  for (const parts of [undefined, running, running, terminated(0, 'Completed'), terminated(0, 'Completed')]) {
    view.tell(changed(parts));
  }
  expect(kinds()).toEqual(['started', 'exited']);
  expect(observed.every((o) => o.containerId === JOB_UID)).toBe(true);
  view.tell({ kind: 'listed', pods: [pod(terminated(0, 'Completed'))] });
  expect(kinds()).toEqual(['started', 'exited', 'exited']);
  view.remove(ref);
  view.tell({ kind: 'listed', pods: [pod(terminated(0, 'Completed'))] });
  expect(kinds()).toEqual(['started', 'exited', 'exited']);
});

test('an old state that is told late does not bring an ended attempt back', () => {
  const { view, kinds } = makeView();
  view.tell(changed(terminated(3, 'Error')));
  view.tell(changed(running));
  expect(view.list()).toMatchObject([{ state: 'ended', exit: { exitCode: 3 } }]);
  expect(kinds()).toEqual(['exited']);
});

test('a list without a pod that ran has its Job asked, and does not judge', () => {
  const { view, kinds } = makeView();
  view.tell(changed(running));
  view.tell({ kind: 'listed', pods: [] });
  expect(kinds()).toEqual(['started']);
  expect(view.podless()).toMatchObject([{ urgent: true, vanished: { metadata: { uid: 'pod-1' } } }]);
});

test('a list that is older than the Job does not end what has no pod yet', () => {
  const { view, observed } = makeView();
  view.expect(ref, JOB_UID);
  view.tell({ kind: 'listed', pods: [] });
  expect(observed).toEqual([]);
  expect(view.list()).toHaveLength(1);
});

test('a Job without a pod is wondered about after a second, and then less and less often', () => {
  const { view } = makeView();
  const tracked = view.expect(ref, JOB_UID);
  const gaps: number[] = [];
  for (let asked = 0, waitedS = 0; asked < 7;) {
    vi.advanceTimersByTime(1000);
    waitedS += 1;
    if (view.podless().length === 0) continue;
    gaps.push(waitedS);
    waitedS = 0;
    asked += 1;
    view.asked(tracked);
  }
  expect(gaps).toEqual([1, 2, 4, 8, 16, 30, 30]);
});

test('an attempt that was removed is not listed, is kept while its pod is there, and forgotten with it', () => {
  const { view } = makeView();
  view.tell(changed(terminated(0, 'Completed')));
  view.remove(ref);
  expect(view.list()).toEqual([]);
  expect(view.size).toBe(1);
  view.tell({ kind: 'deleted', pod: pod(terminated(0, 'Completed')) });
  expect(view.size).toBe(0);
});

test('an attempt that is removed while it runs is still observed as ended', () => {
  const { view, kinds } = makeView();
  view.tell(changed(running));
  view.remove(ref);
  view.tell({ kind: 'deleted', pod: pod(running) });
  expect(kinds()).toEqual(['started', 'lost']);
  expect(view.size).toBe(0);
});

test('a deleted pod whose node never says that it ended is lost with the node', () => {
  const { view, observed } = makeView();
  const deleted = { deletionTimestamp: '2026-11-23T22:00:05Z', deletionGracePeriodSeconds: 5 };
  view.tell(changed({ ...running, metadata: deleted }));
  vi.advanceTimersByTime(34_000);
  view.giveUpOverdue();
  expect(observed.map((o) => o.kind)).toEqual(['started']);
  vi.advanceTimersByTime(2_000);
  expect(view.overdue()).toHaveLength(1);
  view.giveUpOverdue();
  expect(observed.at(-1)).toMatchObject({ exit: { kind: 'lost', cause: { reason: 'NODE_LOST' } } });
});

test('a pod that waited too long, but has its node by now, goes on', () => {
  const { view, kinds } = makeView();
  const condition = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: 'no room' };
  view.tell(changed({ spec: { nodeName: undefined }, status: { conditions: [condition] } }));
  vi.advanceTimersByTime(31_000);
  expect(view.overdue()).toHaveLength(1);
  view.tell({ kind: 'listed', pods: [pod(running)] });
  view.giveUpOverdue();
  expect(kinds()).toEqual(['started']);
});

test('a pod of another tenant in the namespace is nothing to us', () => {
  const { view, observed } = makeView();
  const labels = { ...pod(running).metadata.labels, 'wormhole.dev/tenant-id': 'other' };
  view.tell(changed({ ...running, metadata: { labels } }));
  expect(observed).toEqual([]);
  expect(view.size).toBe(0);
});
