import { App, Chart, JsonPatch } from 'cdk8s';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  InvalidValueError,
  RunJob,
  runJobName,
  runJobSpecDigest,
  type RunJobProps,
  type RunPlacement,
} from '../../lib/index.ts';
import { milliOf } from './quantity.ts';
import {
  ALL_PROPS,
  CA,
  DIGEST,
  REQUIRED_PROPS,
  runJobManifest,
  type JobManifest,
} from './run-job-manifest.ts';

const podOf = (job: JobManifest) => job.spec.template.spec!;

/** Every field that carries safety, spelled out: a snapshot alone is updated too easily. */
const expectSafe = (job: JobManifest): void => {
  expect(job.spec).toMatchObject({
    backoffLimit: 0,
    ttlSecondsAfterFinished: 300,
    podReplacementPolicy: 'Failed',
  });
  expect(job.spec.activeDeadlineSeconds).toBeGreaterThan(0);
  expect(job.spec.podFailurePolicy).toEqual({
    rules: [{ action: 'FailJob', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] }],
  });
  expect(job.spec).not.toHaveProperty('completions');
  expect(job.spec).not.toHaveProperty('parallelism');

  const pod = podOf(job);
  expect(pod).toMatchObject({
    restartPolicy: 'Never',
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    dnsPolicy: 'None',
    dnsConfig: { nameservers: ['127.0.0.1'] },
    securityContext: {
      runAsNonRoot: true,
      runAsUser: 65532,
      runAsGroup: 65532,
      seccompProfile: { type: 'RuntimeDefault' },
    },
  });
  for (const field of [
    'hostNetwork',
    'hostPID',
    'hostIPC',
    'shareProcessNamespace',
    'nodeName',
    'initContainers',
  ]) {
    expect(pod).not.toHaveProperty(field);
  }
  expect(pod.hostUsers).not.toBe(true);

  expect(pod.containers).toHaveLength(1);
  const container = pod.containers[0]!;
  expect(container.securityContext).toEqual({
    allowPrivilegeEscalation: false,
    capabilities: { drop: ['ALL'] },
    privileged: false,
    readOnlyRootFilesystem: true,
    runAsNonRoot: true,
    runAsUser: 65532,
    runAsGroup: 65532,
  });
  for (const kind of ['requests', 'limits'] as const) {
    const amounts = container.resources?.[kind] ?? {};
    expect(Object.keys(amounts).sort()).toEqual(['cpu', 'ephemeral-storage', 'memory']);
    for (const amount of Object.values(amounts)) expect(milliOf(amount)).toBeGreaterThan(0n);
  }
  expect(container.env?.map(({ name }) => name)).toEqual([
    'WORMHOLE_GATEWAY_URL',
    'WORMHOLE_GATEWAY_CA',
    'WORMHOLE_CLAIM_TOKEN_FILE',
  ]);
  for (const field of ['command', 'args', 'ports', 'envFrom', 'lifecycle'])
    expect(container).not.toHaveProperty(field);
  expect(container.volumeMounts).toEqual([
    { name: 'gateway-token', mountPath: '/run/wormhole', readOnly: true },
    { name: 'tmp', mountPath: '/tmp' },
  ]);

  expect(pod.volumes?.map(({ name }) => name)).toEqual(['gateway-token', 'tmp']);
  const [token, tmp] = pod.volumes!;
  expect(Object.keys(token!).sort()).toEqual(['name', 'projected']);
  expect(token!.projected?.sources).toHaveLength(1);
  expect(token!.projected?.sources?.[0]?.serviceAccountToken).toMatchObject({
    path: 'claim-token',
    expirationSeconds: 600,
  });
  expect(token!.projected?.sources?.[0]?.serviceAccountToken?.audience).toBeTruthy();
  expect(token!.projected?.defaultMode).toBe(0o400);
  expect(Object.keys(tmp!).sort()).toEqual(['emptyDir', 'name']);
  expect(tmp!.emptyDir?.medium).toBe('Memory');
  expect(milliOf(tmp!.emptyDir!.sizeLimit!)).toBeLessThanOrEqual(
    milliOf(container.resources!.limits!['memory']!),
  );
};

describe('RunJob', () => {
  it('renders the required properties', () => {
    const job = runJobManifest(REQUIRED_PROPS);
    expectSafe(job);
    expect(job).toMatchSnapshot();
  });

  it('renders all properties', () => {
    const job = runJobManifest(ALL_PROPS);
    expectSafe(job);
    expect(job).toMatchSnapshot();
  });

  it('has a name that only the run and the attempt decide, short enough for its pods and labels', () => {
    const { runId } = REQUIRED_PROPS;
    expect(runJobManifest({ ...ALL_PROPS, runId, attempt: 7 }).metadata.name).toBe(`run-${runId}-7`);
    expect(runJobName(runId, 1000).length).toBeLessThanOrEqual(63 - '-abcde'.length);
  });

  it('labels Job and pod alike, so that a pod found alone says whose it is', () => {
    const job = runJobManifest(REQUIRED_PROPS);
    expect(job.metadata.labels).toEqual({
      'app.kubernetes.io/managed-by': 'wormhole',
      'app.kubernetes.io/component': 'run',
      'app.kubernetes.io/instance': 'wormhole',
      'wormhole.dev/tenant-id': 'acme',
      'wormhole.dev/run-id': REQUIRED_PROPS.runId,
      'wormhole.dev/attempt': '1',
      'wormhole.dev/workflow-version-id': REQUIRED_PROPS.workflowVersionId,
      'wormhole.dev/mode': 'cold',
    });
    expect(job.spec.template.metadata?.labels).toEqual(job.metadata.labels);
  });

  it('tells the runner where the gateway is, whom to trust for it and where its token is, as the gateway protocol says', () => {
    const pod = podOf(
      runJobManifest({ ...REQUIRED_PROPS, hosts: { 'gateway.wormhole-system.svc': '10.96.0.10' } }),
    );
    expect(pod.containers[0]?.env).toEqual([
      { name: 'WORMHOLE_GATEWAY_URL', value: 'https://gateway.wormhole-system.svc:8443' },
      { name: 'WORMHOLE_GATEWAY_CA', value: CA },
      { name: 'WORMHOLE_CLAIM_TOKEN_FILE', value: '/run/wormhole/claim-token' },
    ]);
    expect(pod.volumes?.[0]?.projected?.sources?.[0]?.serviceAccountToken?.audience).toBe('wormhole-gateway');
    expect(pod.hostAliases).toEqual([{ hostnames: ['gateway.wormhole-system.svc'], ip: '10.96.0.10' }]);
  });

  it('requests what it is limited to, cores rounded up to thousandths', () => {
    const resourcesOf = (cpus: number) =>
      podOf(runJobManifest({ ...REQUIRED_PROPS, size: { cpus, memoryMb: 1024 } })).containers[0]!.resources!;
    const amounts = { cpu: '51m', memory: '1Gi', 'ephemeral-storage': '64Mi' };
    expect(resourcesOf(0.0501)).toEqual({ requests: amounts, limits: amounts });
    expect(resourcesOf(0.07).limits).toMatchObject({ cpu: '70m' });
  });

  it('never promises more /tmp than memory', () => {
    const pod = podOf(runJobManifest({ ...REQUIRED_PROPS, size: { memoryMb: 32, tmpMb: 64 } }));
    expect(pod.volumes?.[1]?.emptyDir).toEqual({ medium: 'Memory', sizeLimit: '32Mi' });
  });

  it('asks a Kueue queue for admission where there is one, on the Job and not on its pod', () => {
    const job = runJobManifest({ ...REQUIRED_PROPS, queueName: 'runs' });
    expect(job.metadata.labels).toMatchObject({ 'kueue.x-k8s.io/queue-name': 'runs' });
    expect(job.spec.template.metadata?.labels).not.toHaveProperty(['kueue.x-k8s.io/queue-name']);
    expect(job.spec).not.toHaveProperty('suspend');
  });

  it('takes patches for what it has no property for', () => {
    const chart = new Chart(new App(), 'run');
    new RunJob(chart, 'job', REQUIRED_PROPS).job.addJsonPatch(
      JsonPatch.add('/spec/managedBy', 'example.com/x'),
    );
    expect(chart.toJson()[0]).toMatchObject({ spec: { managedBy: 'example.com/x', backoffLimit: 0 } });
  });
});

describe('the digest of a RunJob', () => {
  const digestOf = (props: RunJobProps): string =>
    runJobManifest(props).metadata.annotations!['wormhole.dev/spec']!;

  it('is on the Job, and can be had without one', () => {
    expect(digestOf(ALL_PROPS)).toMatch(/^[0-9a-f]{64}$/);
    expect(runJobSpecDigest(ALL_PROPS)).toBe(digestOf(ALL_PROPS));
  });

  it('is the same whatever the deadline is, however keys are ordered, and with a default written out', () => {
    const { deadlineSeconds, ...rest } = ALL_PROPS;
    expect(digestOf({ deadlineSeconds: deadlineSeconds + 1, ...rest })).toBe(digestOf(ALL_PROPS));
    const backwards = Object.fromEntries(Object.entries(ALL_PROPS).reverse()) as unknown as RunJobProps;
    expect(digestOf(backwards)).toBe(digestOf(ALL_PROPS));
    const hosts = { a: '10.0.0.1', b: '10.0.0.2' };
    expect(digestOf({ ...REQUIRED_PROPS, hosts })).toBe(
      digestOf({ ...REQUIRED_PROPS, hosts: { b: hosts.b, a: hosts.a } }),
    );
    expect(digestOf({ ...REQUIRED_PROPS, serviceAccountName: 'wormhole-runner', size: { cpus: 1 } })).toBe(
      digestOf(REQUIRED_PROPS),
    );
  });

  it('is another for every other property', () => {
    const others: Required<Omit<RunJobProps, 'deadlineSeconds' | 'allowImageTag'>> = {
      runId: '01939f2e-7d3c-7c4a-9b1e-0242ac12ffff',
      attempt: 4,
      tenantId: 'globex',
      workflowVersionId: '01939f2e-7d3c-7c4a-9b1e-0242ac12ffff',
      instance: 'other',
      namespace: 'wormhole-run-other',
      image: 'wormhole-runner:0.2.0',
      size: { cpus: 0.5 },
      gateway: { url: 'https://gateway:8443', ca: CA },
      hosts: { gateway: '10.96.0.11' },
      serviceAccountName: 'runner.other',
      terminationGracePeriodSeconds: 31,
      queueName: 'other',
      placement: {},
    };
    const digests = Object.entries(others).map(([key, value]) => digestOf({ ...ALL_PROPS, [key]: value }));
    expect(new Set([...digests, digestOf(ALL_PROPS)]).size).toBe(digests.length + 1);
  });
});

/** What must be refused: the changed properties, the key that the message names, and what it says is allowed. */
const REFUSED: readonly (readonly [change: object, key: string, allowed: string])[] = [
  [{ runId: '../../etc/passwd' }, 'runId', 'a UUID in lower-case'],
  [{ runId: REQUIRED_PROPS.runId.toUpperCase() }, 'runId', 'a UUID in lower-case'],
  [{ runId: `${REQUIRED_PROPS.runId}\n` }, 'runId', 'a UUID in lower-case'],
  [{ runId: undefined }, 'runId', 'a value of type string'],
  [{ attempt: 0 }, 'attempt', 'at least 1'],
  [{ attempt: 1.5 }, 'attempt', 'a whole number'],
  [{ attempt: 1001 }, 'attempt', 'at most 1000'],
  [{ attempt: '1' }, 'attempt', 'a value of type number'],
  [{ attempt: Number.NaN }, 'attempt', 'a value of type number'],
  [{ tenantId: 'a'.repeat(51) }, 'tenantId', '1 to 50 lower-case letters'],
  [{ tenantId: 'acme: {a: b}' }, 'tenantId', '1 to 50 lower-case letters'],
  [{ tenantId: '-acme' }, 'tenantId', '1 to 50 lower-case letters'],
  [{ tenantId: '' }, 'tenantId', '1 to 50 lower-case letters'],
  [{ workflowVersionId: "'; DROP TABLE runs; --" }, 'workflowVersionId', 'a UUID in lower-case'],
  [{ instance: 'Wormhole' }, 'instance', '1 to 63 lower-case letters'],
  [{ namespace: 'default' }, 'namespace', 'neither "default"'],
  [{ namespace: 'kube-system' }, 'namespace', 'nor one that starts with "kube-"'],
  [{ image: 'runner' }, 'image', 'name@sha256:'],
  [{ image: 'runner:1.0' }, 'image', 'name@sha256:'],
  [{ image: `runner@${DIGEST.toUpperCase()}` }, 'image', 'name@sha256:'],
  [{ image: `runner@${DIGEST}0` }, 'image', 'name@sha256:'],
  [{ image: `runner @${DIGEST}` }, 'image', 'name@sha256:'],
  [{ image: `${'a'.repeat(500)}@${DIGEST}` }, 'image', 'at most 512 characters'],
  [{ image: 'runner:latest', allowImageTag: true }, 'image', 'a tag other than "latest"'],
  [{ image: 'runner', allowImageTag: true }, 'image', 'a tag other than "latest"'],
  [{ deadlineSeconds: 0 }, 'deadlineSeconds', 'at least 1'],
  [{ deadlineSeconds: Infinity }, 'deadlineSeconds', 'a value of type number'],
  [{ deadlineSeconds: 90_001 }, 'deadlineSeconds', 'at most 90000'],
  [{ size: { cpus: 0 } }, 'size.cpus', 'at least 0.05'],
  [{ size: { cpus: 65 } }, 'size.cpus', 'at most 64'],
  [{ size: { memoryMb: 31, tmpMb: 1 } }, 'size.memoryMb', 'at least 32'],
  [{ size: { gpus: 1 } }, 'size.gpus', 'no key of this name'],
  [{ gateway: { url: 'http://gateway', ca: CA } }, 'gateway.url', 'an https origin'],
  [{ gateway: { url: 'https://user:secret@gateway', ca: CA } }, 'gateway.url', 'an https origin'],
  [{ gateway: { url: 'https://gateway/v1', ca: CA } }, 'gateway.url', 'an https origin'],
  [{ gateway: { url: 'https://gateway', ca: CA, audience: '' } }, 'gateway.audience', 'printable characters'],
  [
    { gateway: { url: 'https://gateway', ca: CA, audience: 'two words' } },
    'gateway.audience',
    'printable characters',
  ],
  [{ gateway: { url: 'https://gateway' } }, 'gateway.ca', 'a value of type string'],
  [{ gateway: { url: 'https://gateway', ca: '' } }, 'gateway.ca', 'certificates in PEM'],
  [
    { gateway: { url: 'https://gateway', ca: CA.replaceAll('CERTIFICATE', 'PRIVATE KEY') } },
    'gateway.ca',
    'certificates in PEM, and nothing else',
  ],
  [{ gateway: { url: 'https://gateway', ca: `${CA}key` } }, 'gateway.ca', 'and nothing else'],
  [{ gateway: { url: 'https://gateway', ca: CA.repeat(300) } }, 'gateway.ca', 'at most 32768 characters'],
  [{ queueName: '' }, 'queueName', '1 to 63 lower-case letters'],
  [{ queueName: 'a/b' }, 'queueName', '1 to 63 lower-case letters'],
  [{ hosts: { gateway: 'localhost' } }, 'hosts.gateway', 'an IPv4 or IPv6 address'],
  [{ hosts: { 'a b': '10.0.0.1' } }, 'hosts.a b', 'as in a domain name'],
  [{ serviceAccountName: 'a/b' }, 'serviceAccountName', 'as in a domain name'],
  [{ terminationGracePeriodSeconds: 4 }, 'terminationGracePeriodSeconds', 'at least 5'],
  [{ placement: { hostUsers: true } }, 'placement.hostUsers', 'false'],
  [{ placement: { nodeSelector: { 'a b': 'c' } } }, 'placement.nodeSelector.a b', 'a label key'],
  [{ placement: { nodeSelector: { a: 'b c' } } }, 'placement.nodeSelector.a', 'a label value'],
  [{ placement: { tolerations: [{ operator: 'Exists' }] } }, 'placement.tolerations[0].key', 'type string'],
  [
    { placement: { tolerations: [{ key: 'a', operator: 'Exists', value: 'b' }] } },
    'placement.tolerations[0].value',
    'no key of this name',
  ],
  [{ placement: { runtimeClassName: 'g Visor' } }, 'placement.runtimeClassName', 'as in a domain name'],
  [{ placement: { priorityClassName: '' } }, 'placement.priorityClassName', 'as in a domain name'],
  [{ placement: { hostNetwork: true } }, 'placement.hostNetwork', 'no key of this name'],
  [{ privileged: true }, 'privileged', 'no key of this name'],
];

const refusalOf = (props: unknown): InvalidValueError => {
  try {
    runJobManifest(props as RunJobProps);
  } catch (error) {
    if (error instanceof InvalidValueError) return error;
    throw error;
  }
  throw new Error('the properties were accepted');
};

describe('RunJob refuses', () => {
  it.each(REFUSED)('%j, naming %s and what is allowed', (change, key, allowed) => {
    const { problems, message } = refusalOf({ ...REQUIRED_PROPS, ...change });
    expect(problems.map((problem) => problem.key)).toEqual([key]);
    expect(problems[0]!.allowed).toContain(allowed);
    expect(message).toBe(`RunJob: ${key} is ${problems[0]!.value}; allowed: ${problems[0]!.allowed}`);
  });

  it('ten megabytes in any text, with a message that stays short', () => {
    const text = 'a'.repeat(10_000_000);
    const texts = [
      'runId',
      'tenantId',
      'workflowVersionId',
      'instance',
      'namespace',
      'image',
      'serviceAccountName',
    ];
    const error = refusalOf({
      ...REQUIRED_PROPS,
      ...Object.fromEntries(texts.map((key) => [key, text])),
      [text]: 1,
    });
    expect(new Set(error.problems.map(({ key }) => key))).toEqual(
      new Set([...texts, `${text.slice(0, 80)}…`]),
    );
    expect(error.message.length).toBeLessThan(4000);
  });

  it('prototype keys, or leaves them without effect', () => {
    const placement = (keys: string): RunJobProps => ({
      ...REQUIRED_PROPS,
      placement: JSON.parse(`{"nodeSelector": {${keys}}}`) as RunPlacement,
    });
    const job = runJobManifest(placement('"__proto__": "x", "toString": "y"'));
    expect(podOf(job).nodeSelector).toEqual({ toString: 'y' });
    expect({}).not.toHaveProperty('x');
    expect(refusalOf(placement('"constructor": "x"')).message).toContain(
      'placement.nodeSelector.constructor',
    );
  });

  it('or renders safely, whatever one property is', () => {
    const anything = fc.anything({ withBigInt: true, withNullPrototype: true, withObjectString: true });
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(ALL_PROPS)), anything, (key, value) => {
        let job: JobManifest;
        try {
          job = runJobManifest({ ...ALL_PROPS, [key]: value });
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidValueError);
          return;
        }
        expectSafe(job);
      }),
      { numRuns: 2000 },
    );
  });

  it('nothing that is within the limits, and is safe at all of them', () => {
    const sizes = fc.record({
      cpus: fc.double({ min: 0.05, max: 64, noNaN: true }),
      memoryMb: fc.integer({ min: 32, max: 262_144 }),
      tmpMb: fc.integer({ min: 1, max: 65_536 }),
    });
    fc.assert(
      fc.property(
        sizes,
        fc.integer({ min: 1, max: 1000 }),
        fc.integer({ min: 1, max: 90_000 }),
        (size, attempt, s) =>
          expectSafe(runJobManifest({ ...REQUIRED_PROPS, size, attempt, deadlineSeconds: s })),
      ),
      { numRuns: 300 },
    );
  });
});

describe('the cost of a RunJob', () => {
  it('is under 1 ms in the median, in an app of its own each time', () => {
    const timesMs: number[] = [];
    for (let run = 0; run < 500; run += 1) {
      const startedAt = performance.now();
      runJobManifest(ALL_PROPS);
      timesMs.push(performance.now() - startedAt);
    }
    const medianMs = timesMs.toSorted((a, b) => a - b)[250]!;
    console.log(`RunJob: ${medianMs.toFixed(2)} ms to manifest (median of ${timesMs.length})`);
    expect(medianMs).toBeLessThan(1);
  });
});
