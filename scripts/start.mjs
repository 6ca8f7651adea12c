// Usage: node scripts/start.mjs <program.ts> [arguments]
// Runs on Node 20 with nothing installed: installs what is missing, then hands over to the program on Node 24.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { ensureDependencies, node24, PROJECT } from './bootstrap.mjs';

const [name, ...args] = process.argv.slice(2);

try {
  await ensureDependencies();
} catch (error) {
  console.error(`${name}: ${error.message}`);
  process.exit(1);
}

const program = spawn(node24(), [join(PROJECT, name), ...args], { stdio: 'inherit' });

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    // A terminal sends Ctrl-C to the program as well; once more would read as "at once, without cleaning up".
    if (!(process.stdin.isTTY && signal === 'SIGINT')) program.kill(signal);
  });
}

program.on('error', (error) => {
  console.error(`${name}: ${node24()} does not start: ${error.message}`);
  process.exit(1);
});
program.on('exit', (code) => process.exit(code ?? 1));
