import type { Socket } from 'node:net';

/**
 * Answers a CONNECT and relays bytes both ways until both sides have closed. Each side may end its half first.
 * @param head what the client sent right after its request.
 */
export async function tunnel(client: Socket, head: Buffer, upstream: Socket): Promise<void> {
  const closed = Promise.all([closeOf(client), closeOf(upstream)]);
  // A side that breaks takes the other with it; one that ends is passed on by pipe().
  client.once('close', () => upstream.destroy());
  upstream.once('close', () => (upstream.readableEnded ? client.destroySoon() : client.destroy()));
  client.write('HTTP/1.1 200 Connection Established\r\n\r\n');
  if (head.length > 0) client.unshift(head);
  client.pipe(upstream);
  upstream.pipe(client);
  await closed;
}

async function closeOf(socket: Socket): Promise<void> {
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
}
