import fc from 'fast-check';
import { InvalidValueError, type RunJobProps } from '../../lib/index.ts';
import { REQUIRED_PROPS, runJobManifest } from '../synth/run-job-manifest.ts';
import type { KubernetesObject } from './api-server.ts';

/** Texts that look like names and may be none: too long, dots and dashes where they must not be, other alphabets. */
const name = fc.oneof(
  fc.stringMatching(/^[a-z0-9]([-a-z0-9.]{0,20}[a-z0-9])?$/),
  fc.stringMatching(/^[a.-]{3,4}\/[a.-]{1,3}$/),
  fc.stringMatching(/^[a-z0-9.-]{1,10}\/[A-Za-z0-9_.-]{1,70}$/),
  fc.stringMatching(/^[A-Za-z0-9_.-]{0,70}$/),
  fc.constantFrom('a'.repeat(63), 'a'.repeat(64), 'null', 'true', '1e3', '0x10', '~', '__proto__'),
  fc.string({ unit: 'binary', maxLength: 10 }),
);
const toleration = fc.record(
  {
    key: name,
    operator: fc.constantFrom('Exists', 'Equal'),
    value: name,
    effect: fc.constantFrom('NoSchedule', 'PreferNoSchedule', 'NoExecute'),
  },
  { requiredKeys: ['operator'] },
);
/** The address of a family in every form in which it may be written. */
const address = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc.ipV4().map((ip) => `::ffff:${ip}`),
);

const changes = fc.record(
  {
    runId: fc.uuid(),
    attempt: fc.integer({ min: 1, max: 1000 }),
    workflowVersionId: fc.uuid(),
    deadlineSeconds: fc.integer({ min: 1, max: 90_000 }),
    terminationGracePeriodSeconds: fc.integer({ min: 5, max: 300 }),
    queueName: name,
    hosts: fc.dictionary(name, address, { maxKeys: 4 }),
    size: fc.record({
      cpus: fc.double({ min: 0.05, max: 64, noNaN: true }),
      memoryMb: fc.integer({ min: 32, max: 262_144 }),
      tmpMb: fc.integer({ min: 1, max: 65_536 }),
    }),
    placement: fc.record(
      {
        nodeSelector: fc.dictionary(name, name, { maxKeys: 2 }),
        tolerations: fc.array(toleration, { maxLength: 4 }),
        hostUsers: fc.constant(false),
      },
      { requiredKeys: [] },
    ),
  },
  { requiredKeys: [] },
);

const rendered = (props: RunJobProps): KubernetesObject | undefined => {
  try {
    return runJobManifest(props) as unknown as KubernetesObject;
  } catch (error) {
    if (error instanceof InvalidValueError) return undefined;
    throw error;
  }
};

/**
 * Jobs of hostile and extreme properties, as far as `RunJob` takes them.
 * @param fixed properties that all of them have.
 */
export const runJobs = (fixed: Partial<RunJobProps>): fc.Arbitrary<KubernetesObject> =>
  changes
    .map((change) => rendered({ ...REQUIRED_PROPS, ...(change as Partial<RunJobProps>), ...fixed }))
    .filter((job) => job !== undefined);
