import { join } from 'node:path';
import type { Availability } from '../availability.ts';
import { buildGoProgram, type BuildContext, type GoProgram } from '../go-program.ts';

const module = (name: string): string => join(import.meta.dirname, 'modules', name);

/** Kubernetes' version; go.mod of modules/kubernetes has the same. */
const KUBERNETES = { major: 1, minor: 36, patch: 3 };
const VERSION = 'k8s.io/component-base/version';

const PROGRAMS = {
  kubernetes: {
    name: 'kubernetes',
    module: module('kubernetes'),
    variables: {
      [`${VERSION}.gitVersion`]: `v${KUBERNETES.major}.${KUBERNETES.minor}.${KUBERNETES.patch}`,
      [`${VERSION}.gitMajor`]: String(KUBERNETES.major),
      [`${VERSION}.gitMinor`]: String(KUBERNETES.minor),
      [`${VERSION}.gitTreeState`]: 'clean',
    },
    takes: 'about ten minutes',
  },
  etcd: { name: 'etcd', module: module('etcd'), package: 'go.etcd.io/etcd/server/v3', takes: 'a minute' },
  certificates: { name: 'certificates', module: module('certificates'), takes: 'some seconds' },
  pause: { name: 'pause', module: module('pause'), takes: 'some seconds' },
  kubeRouter: {
    name: 'kube-router',
    module: module('kube-router'),
    package: 'github.com/cloudnativelabs/kube-router/v2/cmd/kube-router',
    takes: 'some minutes',
  },
  kwok: { name: 'kwok', module: module('kwok'), package: 'sigs.k8s.io/kwok/cmd/kwok', takes: 'some minutes' },
} satisfies Record<string, GoProgram>;

/** What clusters are made of. */
export type ProgramName = keyof typeof PROGRAMS;

/** Builds the programs that are not in the cache yet. @returns their paths. */
export async function buildPrograms<N extends ProgramName>(
  names: readonly N[],
  context: BuildContext,
): Promise<Availability<Readonly<Record<N, string>>>> {
  const paths: Partial<Record<N, string>> = {};
  for (const name of names) {
    const built = await buildGoProgram(PROGRAMS[name], context);
    if ('missing' in built) return built;
    paths[name] = built.value;
  }
  return { value: paths as Record<N, string> };
}
