import type { Benchmark, BenchContext } from './benchmark.ts';
import { measureCold, type Cold } from './cold-runs.ts';
import { measureMemory, type MemoryUse } from './memory.ts';
import { kubernetesReport } from './kubernetes-report.ts';
import { openSimulatedPlatform } from './simulated-platform.ts';
import { measureSubmission, type Submission } from './submission.ts';

const SUBMITTED_RUNS = 2000;
const MEMORY_RUNS = 10_000;

/** What was measured of the Kubernetes backend: of each part that was asked for. */
export interface KubernetesFindings {
  readonly cold?: Cold;
  readonly submission?: Submission;
  readonly memory?: readonly MemoryUse[];
}

/** Measures clusters of its own: one with a node that runs pods, and one whose nodes only pretend to. */
export const kubernetesBenchmark: Benchmark = {
  parts: ['cold', 'writes', 'submit', 'rss'],
  run: async (context) => kubernetesReport(await measure(context)),
};

async function measure(context: BenchContext): Promise<KubernetesFindings> {
  const { parts, runs } = context;
  const isWanted = (...names: string[]): boolean => names.some((name) => parts.has(name));
  const cold = isWanted('cold', 'writes') ? await measureCold(context) : undefined;
  const simulated = isWanted('submit', 'rss') ? await measureSimulated() : {};
  return { ...(cold && { cold }), ...simulated };

  async function measureSimulated(): Promise<KubernetesFindings> {
    await using platform = await openSimulatedPlatform(context);
    const submission = isWanted('submit')
      ? await measureSubmission(platform, context, runs ?? SUBMITTED_RUNS)
      : undefined;
    const memory = isWanted('rss') ? await measureMemory(platform, context, runs ?? MEMORY_RUNS) : undefined;
    return { ...(submission && { submission }), ...(memory && { memory }) };
  }
}
