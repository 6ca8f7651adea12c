#!/usr/bin/env node
// Runs on Node 20 with nothing installed: installs what is missing, then hands over to the CLI on Node 24.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
/** As for every error of the CLI that says "not installed or not running". */
const EXIT_UNAVAILABLE = 5;

let node24, PROJECT;
try {
  const bootstrap = await import('../scripts/bootstrap.mjs').catch((cause) => {
    if (cause.code !== 'ERR_MODULE_NOT_FOUND') throw cause;
    throw new Error('this package is the producer library; the command runs from a checkout of the project', {
      cause,
    });
  });
  ({ node24, PROJECT } = bootstrap);
  await bootstrap.ensureDependencies();
} catch (error) {
  console.error(`wormhole: ${error.message}`);
  process.exit(EXIT_UNAVAILABLE);
}

const cli = spawn(node24(), [join(PROJECT, 'controller', 'cli', 'main.ts'), ...process.argv.slice(2)], {
  stdio: 'inherit',
});

for (const signal of ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    // A terminal sends these two to the CLI as well; once more would read as "at once, without cleaning up".
    const fromTerminal = process.stdin.isTTY && (signal === 'SIGINT' || signal === 'SIGQUIT');
    if (!fromTerminal) cli.kill(signal);
  });
}

cli.on('error', (error) => {
  console.error(`wormhole: ${node24()} does not start: ${error.message}`);
  process.exit(EXIT_UNAVAILABLE);
});
cli.on('exit', (code, signal) => {
  if (signal === null) process.exit(code);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
});
