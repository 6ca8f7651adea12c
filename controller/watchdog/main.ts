import { parseArgs } from 'node:util';
import Dockerode from 'dockerode';
import { pino } from 'pino';
import { Watchdog } from './watchdog.ts';

const { values } = parseArgs({
  options: {
    'docker-socket': { type: 'string' },
    instance: { type: 'string' },
    'grace-ms': { type: 'string' },
  },
});
const socketPath = values['docker-socket'];
const { instance } = values;
const graceMs = Number(values['grace-ms']);
if (socketPath === undefined || instance === undefined || !Number.isInteger(graceMs) || graceMs < 0) {
  process.stderr.write(
    'usage: watchdog --docker-socket <path> --instance <name> --grace-ms <milliseconds>\n',
  );
  process.exit(2);
}

// Whoever reads our log may be gone long before us.
process.stderr.on('error', () => undefined);
const log = pino({ base: { part: 'watchdog', instance } }, process.stderr);
const released = new AbortController();
// The controller holds the other end: it closes when the controller ends, however it ends.
process.stdin.on('end', () => released.abort()).on('error', () => released.abort());
process.stdin.resume();
process.on('SIGTERM', () => process.exit(0));

await new Watchdog({
  // `host` would come from DOCKER_HOST otherwise.
  docker: new Dockerode({ socketPath, host: undefined }),
  instance,
  graceMs,
  released: released.signal,
  log,
}).run();
process.exit(0);
