import { createServer, type AddressInfo } from 'node:net';
import { Dialer } from '../../../controller/egress/dial.ts';
import { messageOf } from '../../../controller/errors.ts';

/**
 * Run by the test in a network namespace whose loopback has public addresses, so that the whole way to a public
 * name can be walked without a network. Prints what happened as one line of JSON.
 */
const [listening = '', deaf = ''] = process.argv.slice(2);

const arrivals: string[] = [];
const server = createServer((socket) => {
  arrivals.push(socket.localAddress ?? '');
  socket.on('error', () => undefined).end('hello');
});
await new Promise<void>((resolve) => server.listen(0, listening, resolve));
const { port } = server.address() as AddressInfo;

/** Public at the first question, this machine's loopback at every later one. */
class RebindingResolver {
  asked = 0;
  resolve(): Promise<readonly string[]> {
    this.asked += 1;
    return Promise.resolve(this.asked === 1 ? [deaf, listening] : ['127.0.0.1']);
  }
}

const resolver = new RebindingResolver();
const dialer = new Dialer({ resolver, ownAddresses: () => [] });
const route = { kind: 'name', host: 'rebind.example', port } as const;
const signal = AbortSignal.timeout(10_000);

const socket = await dialer.dial(route, signal);
const connectedTo = socket.remoteAddress;
const askedOnce = resolver.asked;
socket.destroy();
const second = await dialer.dial(route, signal).then(() => 'connected', messageOf);
// With the default, addresses of this machine are refused though they are public.
const own = await new Dialer()
  .dial({ kind: 'address', host: listening, port }, signal)
  .then(() => 'connected', messageOf);
server.close();
process.stdout.write(`${JSON.stringify({ connectedTo, askedOnce, second, own, arrivals })}\n`);
