import { describe, expect, it } from 'vitest';
import type { k8s } from '../../imports/k8s.ts';
import { WarmPool, type WarmPoolProps } from '../../lib/index.ts';
import {
  CA,
  DIGEST,
  manifestsOf,
  REQUIRED_PROPS,
  runJobManifest,
  type Manifest,
} from './run-job-manifest.ts';

const PROPS: WarmPoolProps = {
  pool: 'fast',
  instance: 'wormhole',
  namespace: 'wormhole-pools',
  replicas: 3,
  image: `runner@${DIGEST}`,
  gateway: { url: 'https://gateway.wormhole-system.svc:8443', ca: CA },
};
const render = (props: WarmPoolProps) =>
  manifestsOf((chart) => new WarmPool(chart, 'pool', props)) as unknown as [
    Manifest<Required<k8s.KubeDeploymentProps>>,
    Manifest<Required<k8s.KubePodDisruptionBudgetProps>>,
  ];
const LABELS = {
  'app.kubernetes.io/managed-by': 'wormhole',
  'app.kubernetes.io/instance': 'wormhole',
  'app.kubernetes.io/component': 'pool',
  'wormhole.dev/pool': 'fast',
  'wormhole.dev/mode': 'warm',
};

describe('WarmPool', () => {
  it('renders a pool', () => {
    expect(render(PROPS)).toMatchSnapshot();
  });

  it('has pods like a run’s, but for what a Deployment demands', () => {
    const [deployment] = render({ ...PROPS, image: REQUIRED_PROPS.image });
    const { spec } = runJobManifest(REQUIRED_PROPS).spec.template;
    expect(deployment.spec.template.spec).toEqual({ ...spec, restartPolicy: 'Always' });
  });

  it('lets go of a pod whose component is changed to a run’s, and starts another', () => {
    const [{ spec }] = render(PROPS);
    expect(spec.replicas).toBe(3);
    expect(spec.selector.matchLabels).toEqual(LABELS);
    expect(spec.template.metadata?.labels).toEqual(LABELS);
  });

  it('is evicted a quarter at a time', () => {
    const [, budget] = render(PROPS);
    expect(budget.spec).toEqual({
      selector: { matchLabels: LABELS },
      maxUnavailable: '25%',
      unhealthyPodEvictionPolicy: 'AlwaysAllow',
    });
  });

  it.each([
    [{ pool: 'a b' }, 'WarmPool: pool is "a b"; allowed: 1 to 63'],
    [{ replicas: -1 }, 'WarmPool: replicas is -1; allowed: at least 0'],
    [{ namespace: 'default' }, 'WarmPool: namespace is "default"; allowed: a namespace of its own'],
    [{ image: 'runner:1.0' }, 'WarmPool: image is "runner:1.0"; allowed: "name@sha256:'],
    [{ tenantId: 'acme' }, 'WarmPool: tenantId is "acme"; allowed: no key of this name'],
  ])('refuses %j', (change, message) => {
    expect(() => render({ ...PROPS, ...change })).toThrow(message);
  });
});
