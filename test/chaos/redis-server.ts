import { setTimeout as delay } from 'node:timers/promises';
import { mkdir } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import { freePorts } from '../support/cluster/free-ports.ts';
import { Program, type ProgramSpec } from './program.ts';

const HOST = '127.0.0.1';
const START_MS = 20_000;
const POLL_MS = 50;

/**
 * A Redis that is killed and started again. It keeps an append-only file, as a production queue does: what it
 * acknowledged survives its own death, and only a FLUSHALL loses it.
 */
export class RedisServer {
  readonly url: string;
  readonly #spec: ProgramSpec;
  #program: Program | undefined;

  private constructor(program: string, folder: string, port: number, password: string, log: string) {
    this.url = `redis://:${password}@${HOST}:${port}`;
    const config = [
      // Its process would call itself something else, and nobody would find it again.
      'set-proc-title no',
      ...[`bind ${HOST}`, `port ${port}`, `requirepass ${password}`, `dir ${folder}`],
      ...['maxmemory-policy noeviction', 'save ""', 'appendonly yes', 'appendfsync everysec', ''],
    ];
    this.#spec = {
      ...{ file: program, args: ['-'], cwd: folder, log },
      ...{ env: { PATH: process.env['PATH'], TMPDIR: folder }, input: config.join('\n') },
    };
  }

  /** @param options.program the server's program; `folder` is made. */
  static async start(options: {
    readonly program: string;
    readonly folder: string;
    readonly log: string;
  }): Promise<RedisServer> {
    await mkdir(options.folder);
    const password = randomBytes(12).toString('hex');
    const [port = 0] = await freePorts(1);
    const server = new RedisServer(options.program, options.folder, port, password, options.log);
    await server.up();
    return server;
  }

  /** Starts it, and waits until it answers and has loaded what it kept. */
  async up(): Promise<void> {
    this.#program = new Program(this.#spec);
    this.#program.stdout.resume();
    const giveUpAt = Date.now() + START_MS;
    while (!(await this.#answers())) {
      if (!this.#program.isAlive || Date.now() > giveUpAt) throw new Error('Redis does not start');
      await delay(POLL_MS);
    }
  }

  async #answers(): Promise<boolean> {
    return await this.#command((redis) => redis.ping()).then(
      () => true,
      () => false,
    );
  }

  /** Forgets everything it holds. */
  async flush(): Promise<void> {
    await this.#command((redis) => redis.flushall());
  }

  async #command(work: (redis: Redis) => Promise<unknown>): Promise<void> {
    const redis = new Redis(this.url, { lazyConnect: true, retryStrategy: () => null });
    redis.on('error', () => undefined);
    try {
      await redis.connect();
      await work(redis);
    } finally {
      redis.disconnect();
    }
  }

  /** SIGKILL, and waits until it is gone. */
  async kill(): Promise<void> {
    if (this.#program?.signal('SIGKILL') === true) await this.#program.ended;
  }
}
