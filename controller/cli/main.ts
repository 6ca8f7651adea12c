import { Interrupt } from './interrupt.ts';
import { openClient } from './open-client.ts';
import { runCli } from './program.ts';

const interrupt = new Interrupt();
interrupt.listen();

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // The reader, such as `head`, has seen enough.
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

process.exitCode = await runCli(process.argv.slice(2), {
  env: process.env,
  streams: { stdin: process.stdin, stdout: process.stdout, stderr: process.stderr },
  interrupt,
  openClient,
});
