import type { Command } from 'commander';
import type { OpenComponent } from '../../control-plane/component.ts';
import type { RunCommand } from '../session.ts';

interface Component {
  readonly name: string;
  readonly summary: string;
  readonly description: string;
  /** Loaded only when it runs: each has libraries that the others have no use for. */
  readonly load: () => Promise<OpenComponent>;
}

const COMPONENTS: readonly Component[] = [
  {
    name: 'controller',
    summary: 'lead runs (in a cluster)',
    description:
      'Takes runs from the queue and leads each to its end, as a Job of the cluster. Several may run: one leads, the others stand by. SIGTERM gives up the lead and leaves live runs to the next.',
    load: async () => (await import('../../control-plane/controller.ts')).openControllerComponent,
  },
  {
    name: 'gateway',
    summary: 'serve runners (in a cluster)',
    description:
      'Hands each run its payload once and takes its reports, over TLS. Any number may run. SIGTERM lets open requests end.',
    load: async () => (await import('../../control-plane/gateway.ts')).openGatewayComponent,
  },
  {
    name: 'egress-proxy',
    summary: 'let runs reach what they may (in a cluster)',
    description:
      'The only way out of a run: checks grants and addresses, and logs every decision. Needs no database. Any number may run. SIGTERM lets open requests end.',
    load: async () => (await import('../../control-plane/egress-proxy.ts')).openEgressProxyComponent,
  },
];

/** `wormhole controller`, `gateway` and `egress-proxy`: what the pods of the control plane run. */
export function addControlPlane(program: Command, run: RunCommand): void {
  for (const { name, summary, description, load } of COMPONENTS) {
    program
      .command(name)
      .summary(summary)
      .description(
        `${description} Stays in the foreground; /healthz and /readyz are on WORMHOLE_PROBE_PORT. docs/operations.md says how a cluster runs it.`,
      )
      .requiredOption('--config <file>', 'what is declared, with its section "kubernetes"')
      .action((options: { config: string }) =>
        run({}, async (session) => {
          const { serve } = await import('../serve.ts');
          return await serve(session, options.config, await load());
        }),
      );
  }
}
