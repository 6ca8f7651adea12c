import { Interrupt } from './interrupt.ts';
import { runCli } from './program.ts';

const interrupt = new Interrupt();
interrupt.listen();

process.exitCode = await runCli(process.argv.slice(2), {
  env: process.env,
  streams: { stdin: process.stdin, stdout: process.stdout, stderr: process.stderr },
  interrupt,
  openClient: async (options) => {
    // Loaded only when it is needed: queue and drivers take longer to load than help to print.
    const { openClient } = await import('./open-client.ts');
    return await openClient(options);
  },
});
