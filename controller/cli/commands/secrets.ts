import { readFileSync } from 'node:fs';
import { Option, type Command } from 'commander';
import { stringify } from 'yaml';
import { loadEnvironment } from '../../config.ts';
import { messageOf } from '../../errors.ts';
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
  readonly caFile?: string;
  readonly force?: boolean;
  readonly json?: boolean;
}

/** `wormhole secrets`: what a control plane in a cluster needs and no repository may hold. */
export function addSecrets(program: Command, run: RunCommand): void {
  program
    .command('secrets')
    .summary("print a cluster's Secrets, with new keys")
    .description(
      "Prints the Secrets of a control plane in a cluster, with new keys and a new certificate of the gateway, for kubectl create. They belong in the cluster and in your secret store, not in git: who loses the encryption keys loses the tenants' connections.",
    )
    .option('--namespace <name>', "the platform's namespace", 'wormhole-system')
    .option('--instance <name>', "the platform's instance", 'wormhole')
    .option('--database-url <url>', 'PostgreSQL as the cluster reaches it (default: DATABASE_URL)')
    .option('--redis-url <url>', 'Redis for the queue (default: REDIS_URL, or the queue is in PostgreSQL)')
    .option('--mongodb-url <url>', 'MongoDB for the logs (default: MONGODB_URL, or they are in PostgreSQL)')
    .addOption(new Option('--only <secret>', 'print one of them, to replace it').choices([...NAMES]))
    .option(
      '--ca-file <file>',
      "authorities that runs are to trust beside the new one, until the gateway's certificate was replaced",
    )
    .option('--force', 'print secrets to a terminal, too')
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      `
Examples:
  DATABASE_URL=postgres://… wormhole secrets | kubectl create -f -
  wormhole secrets --only gateway-tls --ca-file old.crt > next.yaml
  wormhole secrets --only egress-grants | kubectl replace -f -

Not kubectl apply: it replaces keys that are in use without a word, and leaves a copy of them in an annotation.

DATABASE_URL, REDIS_URL and MONGODB_URL are better said in the environment: other users see a command line.
With WORMHOLE_ENCRYPTION_KEYS, the new encryption key is put in front of those. docs/operations.md says how each is replaced.`,
    )
    .action((options: SecretsCommandOptions) =>
      run(options, async (session) => {
        refuseTerminal(session, options);
        refuseWrongUrls(options);
        const { only, caFile } = options;
        const environment = loadEnvironment(session.env);
        const { encryptionKeys } = environment;
        const databaseUrl = options.databaseUrl ?? environment.databaseUrl;
        if (databaseUrl === undefined && (only === undefined || only === 'database')) {
          throw new UsageError('DATABASE_URL is missing: where the cluster reaches PostgreSQL; see --help');
        }
        if (only === 'encryption' && encryptionKeys === undefined) {
          throw new UsageError(
            'WORMHOLE_ENCRYPTION_KEYS is missing: the keys in use, which the new one is put in front of; without them no stored connection can be opened',
          );
        }
        // Loaded only here: no other command makes certificates.
        const { makeSecrets } = await import('../../setup/secrets.ts');
        const { manifests } = await makeSecrets({
          ...{ namespace: options.namespace, instance: options.instance, databaseUrl, encryptionKeys },
          redisUrl: options.redisUrl ?? environment.redisUrl,
          mongodbUrl: options.mongodbUrl ?? environment.mongodbUrl,
          trustedCa: caFile === undefined ? undefined : textOf(caFile),
        });
        const items = manifests.filter(
          ({ metadata }) => only === undefined || metadata.name === `wormhole-${only}`,
        );
        const { output } = session;
        output.document({ apiVersion: 'v1', kind: 'List', items });
        output.line(
          [
            '# Secret: create it and keep it in a secret store, never in git.',
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
    'this prints keys, and standard output is a terminal: pipe it to "kubectl create -f -", or add --force',
  );
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new UsageError(`--ca-file cannot be read: ${messageOf(error)}`);
  }
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
