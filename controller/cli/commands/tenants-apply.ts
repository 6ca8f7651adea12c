import type { Command } from 'commander';
import { loadConfig } from '../../config.ts';
import type { DeclaredChanges, SettingChange } from '../../store/declared-changes.ts';
import { displayJson } from '../display-text.ts';
import { EXIT_OK } from '../exit-codes.ts';
import type { Output } from '../output.ts';
import type { RunCommand } from '../session.ts';

/** `wormhole tenants apply`: what is declared, in force without a restart. */
export function addTenantsApply(tenants: Command, run: RunCommand): void {
  tenants
    .command('apply [file]')
    .summary('bring a changed wormhole.yaml into force')
    .description(
      'Brings tenants, maxConcurrent and startRate of a declared file (default: wormhole.yaml) into force on a platform that runs, and prints what that changes. A file with anything wrong in it changes nothing. Tenants that it does not have stay as they are. A cluster has its file from GitOps: change it there.',
    )
    .option('--dry-run', 'print what would change, and change nothing')
    .option('--json', 'print one JSON document')
    .addHelpText('after', '\nExample:\n  wormhole tenants apply production.yaml --dry-run')
    .action((file: string | undefined, options: { dryRun?: boolean }, command: Command) =>
      run(command.optsWithGlobals(), ({ env, output, withClient }) => {
        const {
          tenants: declared,
          maxConcurrent,
          startRate,
        } = loadConfig({ env, file: file ?? 'wormhole.yaml' });
        return withClient(async (client) => {
          const changes = await client.applyDeclared(
            { tenants: declared, limits: { maxConcurrent, startRate } },
            options,
          );
          output.document(changes);
          describeChanges(changes, output);
          if (options.dryRun === true) output.note('nothing was changed (--dry-run)');
          return EXIT_OK;
        });
      }),
    );
}

function describeChanges(changes: DeclaredChanges, output: Output): void {
  for (const change of changes.platform) output.line(`~ platform: ${settingText(change)}`);
  for (const { id } of changes.added) output.line(`+ ${id}`);
  for (const { tenant, settings } of changes.changed) {
    for (const change of settings) output.line(`~ ${tenant.id}: ${settingText(change)}`);
  }
  for (const id of changes.undeclared) output.line(`? ${id}: not declared, stays as it is`);
  output.line(
    `${changes.added.length} added, ${changes.changed.length} changed, ${changes.unchanged.length} unchanged`,
  );
}

const settingText = ({ setting, from, to }: SettingChange): string =>
  `${setting} ${valueText(from)} → ${valueText(to)}`;

const valueText = (value: unknown): string => (value === undefined ? 'unset' : displayJson(value));
