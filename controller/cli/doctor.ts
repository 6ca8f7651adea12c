import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Redis } from 'ioredis';
import { MongoClient } from 'mongodb';
import pg from 'pg';
import { DEFAULT_CONFIG_FILE, loadConfig, loadEnvironment, type Environment } from '../config.ts';
import { messageOf, WormholeError } from '../errors.ts';
import { canInstallPackages } from '../setup/debian.ts';
import { inspectEngine } from '../setup/engine-facts.ts';
import { hasImage } from '../setup/engine-images.ts';
import { connectEngine, type Engine } from '../setup/engine.ts';
import { displayText } from './display-text.ts';
import { EXIT_OK } from './exit-codes.ts';
import type { Output } from './output.ts';
import { readPlatformFile } from './platform-file.ts';
import type { Session } from './session.ts';

const EXIT_SOMETHING_MISSING = 1;
const CONNECT_TIMEOUT_MS = 5000;
const LABEL_WIDTH = 16;

/** What was found: all well, isolation that is weaker than it could be, or something without which nothing runs. */
interface Finding {
  readonly what: string;
  readonly status: 'ok' | 'weak' | 'missing';
  readonly detail: string;
}

/**
 * Checks everything that a platform on this machine needs, and starts or installs nothing.
 * @returns the exit code.
 */
export async function examine({ env, output }: Session, file: string | undefined): Promise<number> {
  const findings = [finding('configuration', () => Promise.resolve(describeConfig(env, file)))];
  const environment = loadEnvironment(env);
  findings.push(
    examineEngine(environment),
    finding('PostgreSQL', () => examinePostgres(environment)),
    finding('queue', () => examineRedis(environment.redisUrl)),
    finding('logs', () => examineMongodb(environment.mongodbUrl)),
    finding('platform', () => describePlatform(environment)),
  );
  const found = (await Promise.all(findings)).flat();
  const isComplete = found.every(({ status }) => status !== 'missing');
  output.document({ isComplete, findings: found });
  found.forEach((one) => tell(one, output));
  output.line();
  output.line(isComplete ? 'everything that is needed is there' : 'something is missing');
  return isComplete ? EXIT_OK : EXIT_SOMETHING_MISSING;
}

function tell({ what, status, detail }: Finding, output: Output): void {
  const marks = {
    ok: output.style('green', '✓'),
    weak: output.style(['yellow', 'bold'], '!'),
    missing: output.style('red', '✗'),
  };
  const text = displayText(detail);
  const label = what.padEnd(LABEL_WIDTH);
  output.line(
    `${marks[status]} ${label} ${status === 'weak' ? output.style('yellow', `WEAKER: ${text}`) : text}`,
  );
}

/** @returns a finding of what `look` says, or of why it failed. */
async function finding(what: string, look: () => Promise<string>): Promise<Finding[]> {
  try {
    return [{ what, status: 'ok', detail: await look() }];
  } catch (error) {
    const detail = messageOf(error) || ((error as NodeJS.ErrnoException).code ?? 'no answer');
    return [{ what, status: 'missing', detail }];
  }
}

function describeConfig(env: Session['env'], file: string | undefined): string {
  const { tenants, maxConcurrent, instance } = loadConfig({ env, file });
  const path = resolve(file ?? DEFAULT_CONFIG_FILE);
  const source = existsSync(path) ? path : `no ${DEFAULT_CONFIG_FILE} here, so defaults`;
  return `${source}: instance "${instance}", ${tenants.length} tenants, at most ${maxConcurrent} runs at once`;
}

async function examineEngine(environment: Environment): Promise<Finding[]> {
  const what = 'container engine';
  let engine: Engine;
  try {
    engine = await connectEngine({
      dockerHost: environment.dockerHost,
      cacheDir: environment.paths.cacheDir,
      mayStart: false,
    });
  } catch (error) {
    if (!(error instanceof WormholeError)) throw error;
    return environment.dockerHost === undefined && canInstallPackages()
      ? [{ what, status: 'ok', detail: 'none runs; "wormhole up" installs and starts a private one' }]
      : [{ what, status: 'missing', detail: error.message }];
  }
  try {
    const facts = await inspectEngine(engine.docker);
    const { version, operatingSystem, cgroupVersion, runtimes, cpus, memoryMb } = facts;
    const detail = `${engine.description}: ${version} on ${operatingSystem}, cgroup v${cgroupVersion}, ${runtimes.join(' and ')}, ${cpus} CPUs, ${memoryMb} MiB`;
    return [
      { what, status: 'ok', detail },
      ...facts.warnings.map((warning): Finding => ({ what: 'isolation', status: 'weak', detail: warning })),
      ...(await finding('runner image', () => describeImage(engine, environment.runnerImage))),
    ];
  } finally {
    await engine.release();
  }
}

async function describeImage({ docker }: Engine, name: string | undefined): Promise<string> {
  if (name !== undefined) {
    return (await hasImage(docker, name)) ? name : `${name} is not on the engine; the first start pulls it`;
  }
  const images = await docker.listImages({ filters: { reference: ['wormhole-runner'] } });
  const newest = images.toSorted((a, b) => b.Created - a.Created)[0]?.RepoTags?.[0];
  return newest ?? 'none yet; the first start builds it';
}

async function examinePostgres({ databaseUrl, paths }: Environment): Promise<string> {
  if (databaseUrl === undefined) return `embedded, in ${paths.stateDir}`;
  const client = new pg.Client({
    connectionString: databaseUrl,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  });
  try {
    await client.connect();
    const { rows } = await client.query<{ server_version: string }>('SHOW server_version');
    return `${client.host}, version ${rows[0]?.server_version ?? 'unknown'}`;
  } finally {
    await client.end();
  }
}

async function examineRedis(url: string | undefined): Promise<string> {
  if (url === undefined) return 'in PostgreSQL';
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: CONNECT_TIMEOUT_MS,
    maxRetriesPerRequest: 0,
    retryStrategy: null,
  });
  let failure: Error | undefined;
  redis.on('error', (error) => (failure = error));
  try {
    await redis.connect();
    const policy = await redis.config('GET', 'maxmemory-policy').then(
      (answer) => (answer as string[])[1],
      () => undefined,
    );
    if (policy !== undefined && policy !== 'noeviction') {
      throw new Error(`Redis may evict (maxmemory-policy is ${policy}): set it to noeviction`);
    }
    return `Redis at ${new URL(url).host}`;
  } catch (error) {
    // Why the connection failed; what `connect` throws says only that it did.
    throw failure ?? error;
  } finally {
    redis.disconnect();
  }
}

async function examineMongodb(url: string | undefined): Promise<string> {
  if (url === undefined) return 'in PostgreSQL';
  const client = new MongoClient(url, { serverSelectionTimeoutMS: CONNECT_TIMEOUT_MS });
  try {
    await client.db().command({ ping: 1 });
    return 'MongoDB';
  } finally {
    await client.close();
  }
}

async function describePlatform({ paths }: Environment): Promise<string> {
  const platform = await readPlatformFile(paths.stateDir);
  return platform === undefined
    ? 'does not run here'
    : `runs as process ${platform.pid}, since ${platform.startedAt}`;
}
