import type { Command } from 'commander';
import { z } from 'zod';
import { WormholeError } from '../../errors.ts';
import { storedCredentialsSchema, type StoredCredentials } from '../../model/connection.ts';
import type { TenantId } from '../../model/ids.ts';
import { parseTenantId } from '../arguments.ts';
import { displayText } from '../display-text.ts';
import { EXIT_OK } from '../exit-codes.ts';
import { readJsonFile, readJsonStream, type JsonSource } from '../read-json.ts';
import type { RunCommand } from '../session.ts';

const CREDENTIALS_BYTES = 256 * 1024;

interface ConnectionOptions {
  readonly tenant: TenantId;
  readonly json?: boolean;
}

/** `wormhole connection set | ls | rm`: the credentials that a tenant's workflows use. */
export function addConnection(program: Command, run: RunCommand): void {
  const connection = program
    .command('connection')
    .summary('manage the credentials that workflows use')
    .description(
      'Manages the credentials that the workflows of a tenant use, by key. They are stored encrypted.',
    );

  connection
    .command('set <key> <file>')
    .summary('store credentials')
    .description(
      'Stores credentials under a key, from a JSON file or standard input (-). Never from an argument, which every user of the machine could read.',
    )
    .requiredOption('--tenant <id>', 'whose credentials they are', parseTenantId)
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      `
Kinds:
  {"kind": "API_KEY", "in": "header", "name": "X-API-Key", "value": "…"}
  {"kind": "BASIC", "username": "…", "password": "…"}
  {"kind": "CUSTOM_HEADER", "headers": {"X-Token": "…"}}
  {"kind": "OAUTH2", "tokenUrl": "https://…", "clientId": "…", "clientSecret": "…"}

Example:
  read-secret crm | wormhole connection set crm - --tenant acme`,
    )
    .action((key: string, file: string, options: ConnectionOptions) =>
      run(options, async ({ output, streams, withClient }) => {
        const credentials = await readCredentials(file, streams.stdin);
        return await withClient(
          async (client) => {
            await client.putConnection(options.tenant, key, credentials);
            output.document({ tenantId: options.tenant, key, kind: credentials.kind });
            output.line(
              `connection ${displayText(key)} of ${options.tenant} is stored (${credentials.kind})`,
            );
            return EXIT_OK;
          },
          { sealing: true },
        );
      }),
    );

  connection
    .command('ls')
    .summary('list connections')
    .description("Lists a tenant's connections. Their secrets are never shown.")
    .requiredOption('--tenant <id>', 'whose connections', parseTenantId)
    .option('--json', 'print one JSON array')
    .action((options: ConnectionOptions) =>
      run(options, ({ output, withClient }) =>
        withClient(async (client) => {
          const connections = await client.connections(options.tenant);
          output.document(connections);
          if (connections.length === 0) output.note(`tenant ${options.tenant} has no connections`);
          else {
            output.table(
              ['CONNECTION', 'KIND', 'UPDATED'],
              connections.map((one) => [displayText(one.key), one.kind, one.updatedAt.toISOString()]),
            );
          }
          return EXIT_OK;
        }),
      ),
    );

  connection
    .command('rm <key>')
    .summary('remove credentials')
    .description('Removes the credentials under a key. Runs that use them fail from now on.')
    .requiredOption('--tenant <id>', 'whose credentials they are', parseTenantId)
    .option('--json', 'print one JSON document')
    .action((key: string, options: ConnectionOptions) =>
      run(options, ({ output, withClient }) =>
        withClient(async (client) => {
          await client.removeConnection(options.tenant, key);
          output.document({ tenantId: options.tenant, key, removed: true });
          output.line(`connection ${displayText(key)} of ${options.tenant} is removed`);
          return EXIT_OK;
        }),
      ),
    );
}

async function readCredentials(file: string, stdin: NodeJS.ReadableStream): Promise<StoredCredentials> {
  const source: JsonSource = {
    what: 'the credentials',
    maxBytes: CREDENTIALS_BYTES,
    code: 'PAYLOAD_INVALID',
  };
  const given = file === '-' ? await readJsonStream(stdin, source) : await readJsonFile(file, source);
  const result = storedCredentialsSchema.safeParse(given);
  if (result.success) return result.data;
  // zod's messages name keys and what is allowed, never values.
  const problems = z
    .prettifyError(result.error)
    .replaceAll(/\n\s*→ at /g, ' at ')
    .replaceAll('\n', '; ');
  throw new WormholeError(
    'PAYLOAD_INVALID',
    `the credentials (${file === '-' ? 'standard input' : file}): ${problems}`,
  );
}
