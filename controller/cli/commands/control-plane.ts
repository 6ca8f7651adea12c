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
    summary: 'lead runs',
    description:
      'Takes runs from the queue and leads each to its end, as a Job of a cluster or a container of this machine. Several may run: one leads, the others stand by. SIGTERM gives up the lead and leaves live runs to the next.',
    load: async () => (await import('../../control-plane/controller.ts')).openControllerComponent,
  },
  {
    name: 'gateway',
    summary: 'serve runners',
    description:
      "Hands each run its payload once and takes its reports: in a cluster over TLS, and any number may run; on one machine through a socket in every run's folder. SIGTERM lets open requests end.",
    load: async () => (await import('../../control-plane/gateway.ts')).openGatewayComponent,
  },
  {
    name: 'egress-proxy',
    summary: 'let runs reach what they may',
    description:
      'The only way out of a run: checks grants and addresses, and logs every decision. Needs no database. In a cluster any number may run, and SIGTERM lets open requests end.',
    load: async () => (await import('../../control-plane/egress-proxy.ts')).openEgressProxyComponent,
  },
  {
    name: 'watchdog',
    summary: 'kill runs that outlive their deadline (on one machine)',
    description:
      'Kills run containers that neither the runner nor the controller has ended in time. Needs the container engine and nothing else.',
    load: async () => (await import('../../control-plane/watchdog.ts')).openWatchdogComponent,
  },
];

/** `wormhole controller`, `gateway`, `egress-proxy` and `watchdog`: what the pods or containers of the control plane run. */
export function addControlPlane(program: Command, run: RunCommand): void {
  for (const { name, summary, description, load } of COMPONENTS) {
    program
      .command(name)
      .summary(summary)
      .description(
        `${description} Stays in the foreground; /healthz and /readyz are on WORMHOLE_PROBE_PORT. docs/operations.md says how a cluster runs it, docs/compose.md how one machine does.`,
      )
      .requiredOption(
        '--config <file>',
        'what is declared; with its section "kubernetes" runs are pods of a cluster',
      )
      .action((options: { config: string }) =>
        run({}, async (session) => {
          const { serve } = await import('../serve.ts');
          return await serve(session, options.config, await load());
        }),
      );
  }
}
