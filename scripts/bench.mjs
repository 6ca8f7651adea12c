// Runs on Node 20 with nothing installed: installs what is missing, then hands over to the benchmark on Node 24.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { ensureDependencies, node24, PROJECT } from './bootstrap.mjs';

try {
  await ensureDependencies();
} catch (error) {
  console.error(`bench: ${error.message}`);
  process.exit(1);
}

const bench = spawn(node24(), [join(PROJECT, 'bench', 'main.ts'), ...process.argv.slice(2)], {
  stdio: 'inherit',
});

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    // A terminal sends Ctrl-C to the benchmark as well; once more would read as "at once, without cleaning up".
    if (!(process.stdin.isTTY && signal === 'SIGINT')) bench.kill(signal);
  });
}

bench.on('error', (error) => {
  console.error(`bench: ${node24()} does not start: ${error.message}`);
  process.exit(1);
});
bench.on('exit', (code) => process.exit(code ?? 1));
