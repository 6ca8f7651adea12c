import { existsSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { checked } from './config-problems.ts';
import { internalServiceSchema, type InternalService } from './egress/internal-service.ts';
import { messageOf, WormholeError } from './errors.ts';
import { kubernetesSchema, type KubernetesConfig } from './kubernetes-config.ts';
import { startRateSchema, tenantSchema, type StartRate, type Tenant } from './model/tenant.ts';
import { withSecretFiles } from './secret-files.ts';
import { defaultPaths, type Paths } from './setup/paths.ts';

/** The declared file that is read when none is named. */
export const DEFAULT_CONFIG_FILE = 'wormhole.yaml';

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
const CONFIG_FILE_BYTES = 16 * 1024 * 1024;
/** Leaves room for `/<instance>/<run id>-<attempt>/gateway.sock` within what a Unix socket path may have (unix(7)). */
const RUN_DIR_LENGTH = 44;

const retrySchema = z.strictObject({
  attempts: z.int().min(1).max(20).default(3).describe('Attempts in all, the first included.'),
  initialDelayMs: z.int().min(0).max(600_000).default(1000),
  maxDelayMs: z.int().min(0).max(3_600_000).default(30_000),
});

const declaredSchema = z
  .strictObject({
    instance: z
      .string()
      .regex(/^[a-z0-9](?:[-a-z0-9]{0,38}[a-z0-9])?$/, '1 to 40 lower-case letters, digits or "-"')
      .default('default'),
    maxConcurrent: z.int().min(1).max(100_000).default(50),
    startRate: startRateSchema.optional(),
    tenants: z.array(tenantSchema).max(100_000).default([]),
    internalServices: z.array(internalServiceSchema).max(1000).default([]),
    logRetentionDays: z.int().min(1).max(3650).default(30),
    claimTimeoutMs: z.int().min(1000).max(3_600_000).default(60_000),
    retry: retrySchema.prefault({}),
    kubernetes: kubernetesSchema.optional(),
  })
  .superRefine((declared, context) => {
    refuseTwice(
      context,
      'tenants',
      'id',
      declared.tenants.map(({ id }) => id),
    );
    refuseTwice(context, 'internalServices', 'host', declared.internalServices.map(serviceName));
    const unschedulableTimeoutMs = declared.kubernetes?.unschedulableTimeoutMs ?? 0;
    if (unschedulableTimeoutMs >= declared.claimTimeoutMs) {
      context.addIssue({
        code: 'custom',
        path: ['kubernetes', 'unschedulableTimeoutMs'],
        input: unschedulableTimeoutMs,
        message: `less than claimTimeoutMs, which is ${declared.claimTimeoutMs}`,
      });
    }
  });

const serviceName = ({ host, port }: InternalService): string => `${host}:${port}`;

/** The keys of `wormhole.yaml`, at its top level. */
export const DECLARED_KEYS = Object.keys(declaredSchema.shape);

const urlWith = (...protocols: string[]) =>
  z
    .string()
    .refine(
      (text) => protocols.includes(URL.parse(text)?.protocol ?? ''),
      `a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`,
    );
const folder = z.string().refine(isAbsolute, 'an absolute path');
const imageName = z.string().regex(/^[\w][\w./:@-]{0,511}$/, 'an image reference such as name:tag');

const GRANT_KEY_BYTES = 32;
const SERVICES_VARIABLE = 'WORMHOLE_INTERNAL_SERVICES';

const jsonText = z.string().transform((text, context): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    // Not shown: it says where things are.
    context.addIssue({ code: 'custom', input: [], message: 'a JSON list like internalServices' });
    return z.NEVER;
  }
});

/** As OpenTelemetry writes it: `name=value,name=value`, percent-encoded. */
const otlpHeaders = z.string().transform((text, context): Readonly<Record<string, string>> => {
  try {
    return Object.fromEntries(
      text.split(',').map((pair) => {
        const [, name, value] = /^\s*([\w!#$%&'*+.^`|~-]+)\s*=\s*(.*?)\s*$/.exec(pair) ?? [];
        if (name === undefined || value === undefined) throw new Error('is no pair');
        return [name, decodeURIComponent(value)];
      }),
    );
  } catch {
    // Not shown: it may hold a credential.
    context.addIssue({ code: 'custom', input: '', message: 'name=value pairs separated by commas' });
    return z.NEVER;
  }
});

const environmentSchema = z.object({
  DATABASE_URL: urlWith('postgres:', 'postgresql:').optional(),
  REDIS_URL: urlWith('redis:', 'rediss:').optional(),
  MONGODB_URL: urlWith('mongodb:', 'mongodb+srv:').optional(),
  DOCKER_HOST: urlWith('unix:', 'tcp:').optional(),
  WORMHOLE_ENCRYPTION_KEYS: z.string().optional(),
  WORMHOLE_EGRESS_GRANT_KEY: z
    .string()
    .regex(/^[A-Za-z0-9+/]{43}=$/, `${GRANT_KEY_BYTES} bytes in base64`)
    .optional(),
  [SERVICES_VARIABLE]: jsonText.pipe(z.array(internalServiceSchema).max(1000)).default([]),
  WORMHOLE_SECRETS_DIR: folder.optional(),
  WORMHOLE_TLS_DIR: folder.default('/run/secrets/wormhole-tls'),
  WORMHOLE_SERVICE_ACCOUNT_DIR: folder.default('/var/run/secrets/kubernetes.io/serviceaccount'),
  WORMHOLE_LISTEN_ADDRESS: z
    .string()
    .refine((address) => isIP(address) !== 0, 'an IPv4 or IPv6 address')
    .optional(),
  WORMHOLE_PROBE_PORT: z.coerce.number().pipe(z.int().min(0).max(65_535)).default(8081),
  WORMHOLE_METRICS_ADDRESS: z
    .string()
    .refine((address) => isIP(address) !== 0, 'an IPv4 or IPv6 address')
    .default('127.0.0.1'),
  WORMHOLE_METRICS_PORT: z.coerce.number().pipe(z.int().min(0).max(65_535)).optional(),
  WORMHOLE_METRICS_TENANTS: z.coerce.number().pipe(z.int().min(0).max(100_000)).default(1000),
  OTEL_EXPORTER_OTLP_ENDPOINT: urlWith('http:', 'https:').optional(),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: urlWith('http:', 'https:').optional(),
  OTEL_EXPORTER_OTLP_HEADERS: otlpHeaders.default({}),
  WORMHOLE_STATE_DIR: folder.optional(),
  WORMHOLE_CACHE_DIR: folder.optional(),
  WORMHOLE_RUN_DIR: folder
    .refine(
      (path) => path.length <= RUN_DIR_LENGTH,
      `an absolute path of at most ${RUN_DIR_LENGTH} characters, because Unix sockets lie in it`,
    )
    .optional(),
  WORMHOLE_RUNNER_IMAGE: imageName.optional(),
  WORMHOLE_BASE_IMAGE: imageName.optional(),
  WORMHOLE_LOG_LEVEL: z.enum(LOG_LEVELS).default('info'),
});

/** The environment variables that the platform reads, besides HOME and the XDG base directories. */
export const ENVIRONMENT_VARIABLES = Object.keys(environmentSchema.shape);

/** These may hold a password or a key: a message about them never shows the value. */
const SECRET_VARIABLES: ReadonlySet<string> = new Set([
  'DATABASE_URL',
  'REDIS_URL',
  'MONGODB_URL',
  'DOCKER_HOST',
  'WORMHOLE_ENCRYPTION_KEYS',
  'WORMHOLE_EGRESS_GRANT_KEY',
  'OTEL_EXPORTER_OTLP_ENDPOINT',
  'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT',
  'OTEL_EXPORTER_OTLP_HEADERS',
]);

/** Where things are: what the environment says, checked and with all defaults filled in. */
export interface Environment {
  /** PostgreSQL; unset: an embedded one under `paths.stateDir`. */
  readonly databaseUrl: string | undefined;
  /** Redis for the queue; unset: the queue lives in PostgreSQL. */
  readonly redisUrl: string | undefined;
  /** MongoDB for the logs; unset: they go to PostgreSQL. */
  readonly mongodbUrl: string | undefined;
  /** The container engine; unset: the first that answers of the usual ones. */
  readonly dockerHost: string | undefined;
  /** The key ring that seals credentials, as text; unset: one is made under `paths.stateDir`. */
  readonly encryptionKeys: string | undefined;
  /** Where gateway and egress proxy are processes of their own: the key that the gateway signs egress grants with and the proxy checks them by, in base64. */
  readonly egressGrantKey: string | undefined;
  /** Added to the declared ones. */
  readonly internalServices: readonly InternalService[];
  /** In a cluster: the folder with the gateway's certificate, its key and its authority. */
  readonly tlsDir: string;
  /** In a cluster: the folder with the pod's token for the API server and the API server's authority. */
  readonly serviceAccountDir: string;
  /** In a cluster: the address that ports are opened on; unset: all of them. */
  readonly listenAddress: string | undefined;
  /** In a cluster: where liveness and readiness are told; 0 is any free port. */
  readonly probePort: number;
  /** `wormhole up`: where Prometheus reads the metrics; undefined: nowhere. Port 0 is any free one. */
  readonly metricsAddress: { readonly host: string; readonly port: number } | undefined;
  /** So many tenants have metrics of their own; the rest have theirs together. */
  readonly metricsTenants: number;
  /** The OTLP collector that traces of runs are posted to, and with which headers; undefined: there are none. */
  readonly traces: { readonly url: string; readonly headers: Readonly<Record<string, string>> } | undefined;
  readonly paths: Paths;
  /** Where the per-run folders with their two sockets are made. */
  readonly runDir: string;
  /** A runner image that exists already; unset: it is built and cached. */
  readonly runnerImage: string | undefined;
  /** What the runner image is built on; unset: a base is made from the distribution's packages. */
  readonly baseImage: string | undefined;
  readonly logLevel: (typeof LOG_LEVELS)[number];
}

/** Everything that the platform is configured with. */
export interface PlatformConfig extends Environment {
  /** The declared file; null: there is none. */
  readonly declaredFile: string | null;
  /** Two platforms on one container engine differ in this name; it labels every container. */
  readonly instance: string;
  /** Runs in STARTING or RUNNING at once, of all tenants together. */
  readonly maxConcurrent: number;
  /** How fast runs of all tenants together are started; unset: as slots allow. */
  readonly startRate: StartRate | undefined;
  readonly tenants: readonly Tenant[];
  /** Log lines are kept for this many days. */
  readonly logRetentionDays: number;
  /** A container that has not claimed its payload after this long is given up. */
  readonly claimTimeoutMs: number;
  /** How often, and after which delays, an attempt that failed for infrastructure reasons is made again. */
  readonly retry: {
    /** Attempts in all, the first included. */
    readonly attempts: number;
    readonly initialDelayMs: number;
    readonly maxDelayMs: number;
  };
  /** The cluster that runs get their pods in; unset: they get containers of this machine. */
  readonly kubernetes: KubernetesConfig | undefined;
  /** Nothing needs to survive: the embedded PostgreSQL may skip fsync. */
  readonly ephemeral: boolean;
}

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * Reads the environment.
 * @throws {WormholeError} CONFIG_INVALID, naming every wrong variable and what is allowed, never a secret value.
 */
export function loadEnvironment(from: Variables = process.env): Environment {
  const env = withoutEmpty(withSecretFiles(withoutEmpty(from), ENVIRONMENT_VARIABLES));
  const variables = checked(environmentSchema, env, 'the environment', SECRET_VARIABLES);
  const isRoot = process.getuid?.() === 0;
  return {
    databaseUrl: variables.DATABASE_URL,
    redisUrl: variables.REDIS_URL,
    mongodbUrl: variables.MONGODB_URL,
    dockerHost: variables.DOCKER_HOST,
    encryptionKeys: variables.WORMHOLE_ENCRYPTION_KEYS,
    egressGrantKey: variables.WORMHOLE_EGRESS_GRANT_KEY,
    internalServices: variables[SERVICES_VARIABLE],
    tlsDir: variables.WORMHOLE_TLS_DIR,
    serviceAccountDir: variables.WORMHOLE_SERVICE_ACCOUNT_DIR,
    listenAddress: variables.WORMHOLE_LISTEN_ADDRESS,
    probePort: variables.WORMHOLE_PROBE_PORT,
    metricsAddress:
      variables.WORMHOLE_METRICS_PORT === undefined
        ? undefined
        : { host: variables.WORMHOLE_METRICS_ADDRESS, port: variables.WORMHOLE_METRICS_PORT },
    metricsTenants: variables.WORMHOLE_METRICS_TENANTS,
    traces: tracesOf(variables),
    paths: defaultPaths(env, isRoot),
    runDir: variables.WORMHOLE_RUN_DIR ?? defaultRunDir(env, isRoot),
    runnerImage: variables.WORMHOLE_RUNNER_IMAGE,
    baseImage: variables.WORMHOLE_BASE_IMAGE,
    logLevel: variables.WORMHOLE_LOG_LEVEL,
  };
}

/** By OpenTelemetry's rule: its path belongs to the one of all signals, and is in the one of traces already. */
function tracesOf(variables: z.infer<typeof environmentSchema>): Environment['traces'] {
  const base = variables.OTEL_EXPORTER_OTLP_ENDPOINT;
  const url =
    variables.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ?? (base && `${base.replace(/\/$/, '')}/v1/traces`);
  return url === undefined ? undefined : { url, headers: variables.OTEL_EXPORTER_OTLP_HEADERS };
}

/** Where the configuration comes from. */
export interface ConfigSource {
  /** @default - `process.env` */
  readonly env?: Variables;
  /** The declared file; it must exist. @default - `wormhole.yaml` in the working folder, if there is one */
  readonly file?: string | undefined;
}

/**
 * Reads the environment and the declared file.
 * @throws {WormholeError} CONFIG_INVALID, naming every wrong key, its value (never a secret one) and what is
 *   allowed.
 */
export function loadConfig(source: ConfigSource = {}): PlatformConfig {
  const environment = loadEnvironment(source.env);
  const { kubernetes, ...declared } = readDeclared(source.file);
  const internalServices = [...declared.internalServices, ...environment.internalServices];
  const [twice] = internalServices.filter(
    (service, index) =>
      internalServices.findIndex((one) => serviceName(one) === serviceName(service)) < index,
  );
  if (twice !== undefined) {
    throw new WormholeError(
      'CONFIG_INVALID',
      `the environment: ${SERVICES_VARIABLE}: "${serviceName(twice)}" is there twice, or declared too; allowed: a host and port used only once`,
    );
  }
  return {
    ...{ ...environment, ...declared },
    declaredFile: declaredFile(source.file),
    startRate: declared.startRate,
    internalServices,
    kubernetes,
    ephemeral: false,
  };
}

/** What of the declared file may change while a controller leads: the rest takes a restart. */
export type LiveSettings = Pick<PlatformConfig, 'tenants' | 'maxConcurrent' | 'startRate'>;

/** Reads it again. @throws {WormholeError} CONFIG_INVALID, naming what is wrong. */
export function readLiveSettings(path: string): LiveSettings {
  const { tenants, maxConcurrent, startRate } = readDeclared(path);
  return { tenants, maxConcurrent, startRate };
}

function declaredFile(file: string | undefined): string | null {
  const path = resolve(file ?? DEFAULT_CONFIG_FILE);
  return file === undefined && !existsSync(path) ? null : path;
}

function readDeclared(file: string | undefined): z.infer<typeof declaredSchema> {
  const path = declaredFile(file);
  if (path === null) return declaredSchema.parse({});
  let document: unknown;
  try {
    const text = readFileSync(path, 'utf8');
    if (text.length > CONFIG_FILE_BYTES) throw new Error(`is larger than ${CONFIG_FILE_BYTES} bytes`);
    document = parseYaml(text) ?? {};
  } catch (error) {
    const firstLine = messageOf(error).split('\n', 1)[0] ?? '';
    throw new WormholeError('CONFIG_INVALID', `${path}: ${firstLine.replace(/:$/, '')}`, { cause: error });
  }
  return checked(declaredSchema, document, path);
}

/** A variable that is set to nothing counts as unset, as shells and compose files write it. */
function withoutEmpty(env: Variables): Variables {
  return Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
}

function defaultRunDir(env: Variables, isRoot: boolean): string {
  if (isRoot) return '/run/wormhole';
  const session = env['XDG_RUNTIME_DIR'];
  const path = session === undefined ? tmpdir() : session;
  const name = session === undefined ? `wormhole-${process.getuid?.() ?? 0}` : 'wormhole';
  return join(path.length + name.length < RUN_DIR_LENGTH ? path : '/tmp', name);
}

function refuseTwice(context: z.RefinementCtx, list: string, key: string, values: readonly string[]): void {
  const seen = new Set<string>();
  values.forEach((value, index) => {
    if (seen.has(value)) {
      const path = [list, index, key];
      context.addIssue({ code: 'custom', path, input: value, message: 'a value used only once' });
    }
    seen.add(value);
  });
}
