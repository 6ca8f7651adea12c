import { Option, type Command } from 'commander';
import { stringify } from 'yaml';
import type { SecretName } from '../../setup/secrets.ts';
import { EXIT_OK } from '../exit-codes.ts';
import type { RunCommand, Session } from '../session.ts';
import { UsageError } from '../usage-error.ts';

const NAMES: readonly SecretName[] = ['database', 'encryption', 'egress-grants', 'gateway-tls'];

interface SecretsCommandOptions {
  readonly namespace: string;
  readonly instance: string;
  readonly databaseUrl?: string;
  readonly redisUrl?: string;
  readonly mongodbUrl?: string;
  readonly only?: SecretName;
  readonly force?: boolean;
  readonly json?: boolean;
}

/** `wormhole secrets`: what a control plane in a cluster needs and no repository may hold. */
export function addSecrets(program: Command, run: RunCommand): void {
  program
    .command('secrets')
    .summary("print a cluster's Secrets, with new keys")
    .description(
      "Prints the Secrets of a control plane in a cluster, with new keys and a new certificate of the gateway, for kubectl apply. They belong in the cluster and in your secret store, not in git: who loses the encryption keys loses the tenants' connections.",
    )
    .option('--namespace <name>', "the platform's namespace", 'wormhole-system')
    .option('--instance <name>', "the platform's instance", 'wormhole')
    .option(
      '--database-url <url>',
      'PostgreSQL as the cluster reaches it (required, but with --only another one)',
    )
    .option('--redis-url <url>', 'Redis for the queue (default: the queue is in PostgreSQL)')
    .option('--mongodb-url <url>', 'MongoDB for the logs (default: they are in PostgreSQL)')
    .addOption(new Option('--only <secret>', 'print one of them, to replace it').choices([...NAMES]))
    .option('--force', 'print secrets to a terminal, too')
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      `
Examples:
  wormhole secrets --database-url "$DATABASE_URL" | kubectl apply -f -
  wormhole secrets --only gateway-tls | kubectl apply -f -`,
    )
    .action((options: SecretsCommandOptions) =>
      run(options, async (session) => {
        refuseTerminal(session, options);
        const { databaseUrl, only } = options;
        if (databaseUrl === undefined && (only === undefined || only === 'database')) {
          throw new UsageError('--database-url is missing: where the cluster reaches PostgreSQL; see --help');
        }
        refuseWrongUrls(options);
        // Loaded only here: no other command makes certificates.
        const { makeSecrets } = await import('../../setup/secrets.ts');
        const { manifests } = await makeSecrets(options);
        const items = manifests.filter(
          ({ metadata }) => only === undefined || metadata.name === `wormhole-${only}`,
        );
        const { output } = session;
        output.document({ apiVersion: 'v1', kind: 'List', items });
        output.line(
          [
            '# Secret: apply it and keep it in a secret store, never in git.',
            ...items.map((item) => stringify(item)),
          ]
            .join('\n---\n')
            .trimEnd(),
        );
        return EXIT_OK;
      }),
    );
}

function refuseTerminal({ streams }: Session, { force }: SecretsCommandOptions): void {
  if (streams.stdout.isTTY !== true || force === true) return;
  throw new UsageError(
    'this prints keys, and standard output is a terminal: pipe it to "kubectl apply -f -", or add --force',
  );
}

/** They are never shown: they hold passwords. */
function refuseWrongUrls({ databaseUrl, redisUrl, mongodbUrl }: SecretsCommandOptions): void {
  const expected = [
    ['--database-url', databaseUrl, /^postgres(?:ql)?:\/\//],
    ['--redis-url', redisUrl, /^rediss?:\/\//],
    ['--mongodb-url', mongodbUrl, /^mongodb(?:\+srv)?:\/\//],
  ] as const;
  for (const [option, url, pattern] of expected) {
    if (url === undefined || (pattern.test(url) && URL.canParse(url))) continue;
    throw new UsageError(`${option} is not a URL of such a server; see docs/configuration.md`);
  }
}
