import { Option, type Command } from 'commander';
import type { OpenStage } from '../../demo/stage.ts';
import type { RunCommand } from '../session.ts';

// Loaded only when they are needed: queue and drivers take longer to load than most commands to run.
const STAGES = {
  docker: async () => (await import('../../demo/docker-stage.ts')).openDockerStage,
  kubernetes: async () => (await import('../../demo/kubernetes-stage.ts')).openKubernetesStage,
} as const satisfies Record<string, () => Promise<OpenStage>>;

/** `wormhole demo`: everything at work, on this machine. */
export function addDemo(program: Command, run: RunCommand): void {
  program
    .command('demo')
    .summary('watch sample runs of two tenants, each in a container of its own')
    .description(
      'Starts a platform of its own with two sample tenants and a small service that they call, submits sample runs, shows how they get on, and removes everything again. The exit code is 0 exactly when every run ended as it should.',
    )
    .addOption(
      new Option(
        '--backend <name>',
        'docker: this machine; kubernetes: a cluster of its own, made of real servers, with dist/dev applied to it (Linux, as root)',
      )
        .choices(Object.keys(STAGES))
        .default('docker'),
    )
    .option('--json', 'print one JSON object per line')
    .action((options: { backend: keyof typeof STAGES; json?: boolean }) =>
      run(options, async (session) => {
        const openStage = await STAGES[options.backend]();
        const { runDemo } = await import('../../demo/demo.ts');
        return await runDemo(session, openStage);
      }),
    );
}
