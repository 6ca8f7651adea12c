import type { Command } from 'commander';
import type { EgressPolicy } from '../../model/tenant.ts';
import { EXIT_OK } from '../exit-codes.ts';
import type { RunCommand } from '../session.ts';

/** `wormhole tenants`: who there is, and how much of their caps is in use. */
export function addTenants(program: Command, run: RunCommand): void {
  program
    .command('tenants')
    .summary('list tenants and what they use')
    .description(
      'Lists the tenants with their caps, what is running and queued now, and what they may reach.',
    )
    .option('--json', 'print one JSON array')
    .action((options: { json?: boolean }) =>
      run(options, ({ output, withClient }) =>
        withClient(async (client) => {
          const tenants = await client.tenants();
          output.document(tenants);
          if (tenants.length === 0) output.note('no tenants; declare them in wormhole.yaml under "tenants"');
          else {
            output.table(
              ['TENANT', 'RUNNING', 'QUEUED', 'CPUS', 'MEMORY', 'EGRESS'],
              tenants.map((tenant) => [
                tenant.id,
                `${tenant.running} of ${tenant.maxConcurrent}`,
                `${tenant.queued} of ${tenant.maxQueued}`,
                String(tenant.limits.cpus),
                `${tenant.limits.memoryMb} MiB`,
                describeEgress(tenant.egress),
              ]),
            );
          }
          return EXIT_OK;
        }),
      ),
    );
}

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
