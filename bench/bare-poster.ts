import { Agent, request } from 'node:https';
import type { IncomingMessage } from 'node:http';

export interface ApiAccess {
  /** The API server's URL. */
  readonly server: string;
  /** The certificate authority in PEM. */
  readonly ca: string;
  readonly token: string;
}

/** One object to create. */
export interface Post {
  readonly path: string;
  /** JSON. */
  readonly body: string;
}

const CREATED = 201;
/** Two objects that count in one quota met: the same request is right a moment later. */
const CONFLICT = 409;

/**
 * Creates objects as fast as an API server takes them from one client: over kept connections, from bodies that are
 * ready, without a look at the answers but for their status. What a conflict stopped is sent again at once.
 * @param inFlight so many requests at a time.
 * @throws when one is refused.
 */
export async function postAll(
  posts: readonly Post[],
  inFlight: number,
  { server, ca, token }: ApiAccess,
  signal: AbortSignal,
): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: inFlight, ca });
  const waiting = [...posts].reverse();
  const send = async (): Promise<void> => {
    for (let post = waiting.pop(); post !== undefined; post = waiting.pop()) {
      const { path, body } = post;
      const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
      const headers = {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
      };
      request(new URL(path, server), { method: 'POST', agent, headers, signal }, resolve)
        .on('error', reject)
        .end(body);
      const response = await promise;
      const text = await drain(response, response.statusCode !== CREATED);
      if (response.statusCode === CONFLICT) waiting.push(post);
      else if (text !== '') throw new Error(`POST ${path}: ${response.statusCode ?? ''} ${text}`);
    }
  };
  try {
    await Promise.all(Array.from({ length: inFlight }, send));
  } finally {
    agent.destroy();
  }
}

/** @returns the answer's text where it is kept. */
async function drain(response: IncomingMessage, isKept: boolean): Promise<string> {
  let text = '';
  for await (const chunk of response as AsyncIterable<Buffer>) if (isKept) text += chunk.toString();
  return text;
}
