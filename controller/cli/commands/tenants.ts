import type { Command } from 'commander';
import type { TenantId } from '../../model/ids.ts';
import type { EgressPolicy, StartRate } from '../../model/tenant.ts';
import type { TenantUsage } from '../../store/tenants.ts';
import { parseTenantId } from '../arguments.ts';
import { formatDuration } from '../durations.ts';
import { EXIT_OK } from '../exit-codes.ts';
import type { RunCommand } from '../session.ts';
import { addTenantsApply } from './tenants-apply.ts';

/** `wormhole tenants`: who there is, and how much of their caps is in use; and what changes that at runtime. */
export function addTenants(program: Command, run: RunCommand): void {
  const tenants = program
    .command('tenants')
    .summary('list tenants and what they use; pause, resume, apply')
    .description(
      'Lists the tenants with their caps, what is running and queued now, how they share slots, and what they may reach.',
    )
    .option('--json', 'print one JSON array')
    .action((options: { json?: boolean }) =>
      run(options, ({ output, withClient }) =>
        withClient(async (client) => {
          const all = await client.tenants();
          output.document(all);
          if (all.length === 0) {
            output.note(
              'no tenants; declare them in wormhole.yaml under "tenants", then "wormhole tenants apply"',
            );
          } else {
            output.table(
              [
                'TENANT',
                'RUNNING',
                'QUEUED',
                'WHEN FULL',
                'WEIGHT',
                'PRIORITY',
                'RATE',
                'CPUS',
                'MEMORY',
                'EGRESS',
              ],
              all.map(rowOf),
            );
          }
          return EXIT_OK;
        }),
      ),
    );
  addPause(tenants, run, {
    name: 'pause',
    paused: true,
    description:
      "Starts no more of the tenant's runs until it is resumed. Live ones go on, new ones are queued.",
  });
  addPause(tenants, run, {
    name: 'resume',
    paused: false,
    description: "Starts the tenant's runs again.",
  });
  addTenantsApply(tenants, run);
}

const rowOf = (tenant: TenantUsage): string[] => [
  tenant.id,
  `${tenant.running} of ${tenant.maxConcurrent}${tenant.pausedAt === null ? '' : ' (paused)'}`,
  `${tenant.queued} of ${tenant.maxQueued}`,
  tenant.whenFull,
  String(tenant.weight),
  tenant.priority,
  describeRate(tenant.startRate),
  String(tenant.limits.cpus),
  `${tenant.limits.memoryMb} MiB`,
  describeEgress(tenant.egress),
];

function addPause(
  tenants: Command,
  run: RunCommand,
  {
    name,
    paused,
    description,
  }: { readonly name: string; readonly paused: boolean; readonly description: string },
): void {
  tenants
    .command(name)
    .description(description)
    .argument('<tenant>', 'which tenant', parseTenantId)
    .option('--json', 'print one JSON document')
    .action((tenantId: TenantId, _options: unknown, command: Command) =>
      run(command.optsWithGlobals(), ({ output, withClient }) =>
        withClient(async (client) => {
          await client.setPaused(tenantId, paused);
          output.document({ tenantId, paused });
          output.line(`tenant ${tenantId} is ${paused ? 'paused' : 'resumed'}`);
          return EXIT_OK;
        }),
      ),
    );
}

const describeRate = (rate: StartRate | undefined): string =>
  rate === undefined ? '–' : `${rate.max} in ${formatDuration(rate.durationMs)}`;

function describeEgress({ mode, allow }: EgressPolicy): string {
  switch (mode) {
    case 'deny':
      return 'nothing';
    case 'unrestricted':
      return 'everything but private addresses';
    case 'allowlist':
      return `${allow.length} ${allow.length === 1 ? 'name' : 'names'}`;
  }
}
