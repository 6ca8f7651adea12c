import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { z } from 'zod';
import { addCancel } from './commands/cancel.ts';
import { addConnection } from './commands/connection.ts';
import { addControlPlane } from './commands/control-plane.ts';
import { addDemo } from './commands/demo.ts';
import { addDlq } from './commands/dlq.ts';
import { addDoctor } from './commands/doctor.ts';
import { addLogs } from './commands/logs.ts';
import { addLs } from './commands/ls.ts';
import { addPrepareVolumes } from './commands/prepare-volumes.ts';
import { addRerun } from './commands/rerun.ts';
import { addSecrets } from './commands/secrets.ts';
import { addShow } from './commands/show.ts';
import { addSubmit } from './commands/submit.ts';
import { addTenants } from './commands/tenants.ts';
import { addUp } from './commands/up.ts';
import { EXIT_OK, exitCodeOf } from './exit-codes.ts';
import { Output } from './output.ts';
import type { Cli, RunCommand, Session } from './session.ts';
import { UsageError } from './usage-error.ts';

const EXIT_CODES_HELP = `
Exit codes:
  0 done; with --follow: the run ended in SUCCESS    10 FAILED, 11 TIMEOUT, 12 CANCELED (with --follow)
  1 internal error    2 wrong usage or input    3 not found    4 the tenant's queue is full
  5 something that is needed is not running or not installed    130 interrupted`;

/**
 * Runs one command of the CLI.
 * @param args the command line after the program's name.
 * @returns the exit code. Errors are written to standard error, never thrown.
 */
export async function runCli(args: readonly string[], cli: Cli): Promise<number> {
  let exitCode = EXIT_OK;
  const run: RunCommand = async (options, work) => {
    const output = new Output(cli.streams, options.json === true);
    exitCode = await work(openSession(cli, output));
  };
  try {
    await makeProgram(cli, run).parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    const cause = error instanceof CommanderError ? usageError(error) : error;
    if (cause === undefined) return EXIT_OK;
    // Ctrl-C makes whatever was going on fail with the signal's reason: that is no error to tell.
    if (cause === cli.interrupt.stop.reason) return cli.interrupt.exitCode;
    new Output(cli.streams, args.includes('--json')).error(cause);
    if (cli.env['WORMHOLE_LOG_LEVEL'] === 'debug' && cause instanceof Error) {
      cli.streams.stderr.write(`${cause.stack ?? ''}\n`);
    }
    return exitCodeOf(cause);
  }
}

function makeProgram(cli: Cli, run: RunCommand): Command {
  const program = new Command('wormhole')
    .description('Runs every workflow run in an isolated container of its own.')
    .version(readVersion(), '--version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command')
    .addHelpText('after', EXIT_CODES_HELP)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => cli.streams.stdout.write(text),
      // Errors of the command line are written by runCli, as every other error.
      writeErr: () => undefined,
      getOutHelpWidth: () => cli.streams.stdout.columns ?? 100,
    });
  const add = [
    ...[addDemo, addUp, addSubmit, addLs, addShow, addLogs, addCancel, addRerun, addTenants],
    ...[addDlq, addConnection, addDoctor, addControlPlane, addSecrets, addPrepareVolumes],
  ];
  add.forEach((addCommand) => addCommand(program, run));
  return program;
}

function openSession(cli: Cli, output: Output): Session {
  return {
    env: cli.env,
    streams: cli.streams,
    interrupt: cli.interrupt,
    openClient: cli.openClient,
    output,
    withClient: async (work, options = { sealing: false }) => {
      const client = await cli.openClient({ env: cli.env, ...options });
      try {
        return await work(client);
      } finally {
        await client.close();
      }
    },
  };
}

/** @returns what to tell the user, or undefined when help or the version was asked for and printed. */
function usageError(error: CommanderError): UsageError | undefined {
  if (error.exitCode === EXIT_OK) return undefined;
  if (error.code === 'commander.help') return new UsageError('no command given; see "wormhole --help"');
  const message = error.message.replace(/^error: /, '').replaceAll(/\s*\n\s*/g, ' ');
  return new UsageError(`${message.replace(/\.$/, '')}; see --help`);
}

function readVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return z.object({ version: z.string() }).parse(JSON.parse(text)).version;
}
