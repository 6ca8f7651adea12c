import { randomBytes, X509Certificate } from 'node:crypto';
import type { InternalService } from '../egress/internal-service.ts';
import { WormholeError } from '../errors.ts';
import { LABELS, MANAGED_BY } from '../model/labels.ts';
import { KeyRing } from '../secrets/cipher.ts';
import { makeGatewayCertificate } from './certificates.ts';

/** The Secrets that the control plane mounts, by the part of their names after `wormhole-`. */
export const SECRET_NAMES = ['database', 'encryption', 'egress-grants', 'gateway-tls', 'local'] as const;
export type SecretName = (typeof SECRET_NAMES)[number];

export interface SecretsOptions {
  /** The platform's namespace. */
  readonly namespace: string;
  readonly instance: string;
  /** Where the control plane is to reach PostgreSQL; without it there is no Secret `wormhole-database`. */
  readonly databaseUrl?: string | undefined;
  readonly redisUrl?: string | undefined;
  readonly mongodbUrl?: string | undefined;
  /** @default - none, and no Secret `wormhole-local` */
  readonly internalServices?: readonly InternalService[] | undefined;
  /** The name of the gateway's Service. @default "wormhole-gateway" */
  readonly gatewayService?: string | undefined;
  /** The key ring that is in use, which the new key is put in front of. @default - none: the new key is the only one */
  readonly encryptionKeys?: string | undefined;
  /** Authorities that live runs may trust, PEM: new runs are to trust them beside the new one. @default - none */
  readonly trustedCa?: string | undefined;
  /** How long the gateway's certificate is valid. @default 825 */
  readonly certificateDays?: number | undefined;
}

/** A Secret as `kubectl apply` takes it. */
export interface SecretManifest {
  readonly apiVersion: 'v1';
  readonly kind: 'Secret';
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
  };
  readonly type: 'Opaque' | 'kubernetes.io/tls';
  readonly stringData: Readonly<Record<string, string>>;
}

/** New secrets of a control plane. */
export interface ControlPlaneSecrets {
  /** The key ring that seals connections, which whoever stores one needs, too. */
  readonly encryptionKeys: string;
  readonly manifests: readonly SecretManifest[];
}

const KEY_BYTES = 32;
const CERTIFICATE_DAYS = 825;

/**
 * Makes the Secrets of a control plane, with new keys and a new certificate of the gateway.
 * @throws {WormholeError} ENCRYPTION_KEY_INVALID, CONFIG_INVALID when `encryptionKeys` or `trustedCa` are not what they
 *   are to be.
 */
export async function makeSecrets(options: SecretsOptions): Promise<ControlPlaneSecrets> {
  const { namespace, instance, databaseUrl, internalServices } = options;
  const service = options.gatewayService ?? 'wormhole-gateway';
  const tls = await makeGatewayCertificate({
    names: [`${service}.${namespace}.svc`, `${service}.${namespace}.svc.cluster.local`],
    addresses: [],
    days: options.certificateDays ?? CERTIFICATE_DAYS,
  });
  const key = (): string => randomBytes(KEY_BYTES).toString('base64');
  if (options.encryptionKeys !== undefined) KeyRing.parse(options.encryptionKeys);
  const encryptionKeys = [newKeyRing(), options.encryptionKeys].filter(Boolean).join(',');
  const ca = [tls.ca, ...certificatesIn(options.trustedCa)].join('');
  const manifest = (
    name: SecretName,
    data: Readonly<Record<string, string | undefined>>,
    type: SecretManifest['type'] = 'Opaque',
  ): SecretManifest => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      name: `wormhole-${name}`,
      namespace,
      labels: { [LABELS.managedBy]: MANAGED_BY, [LABELS.instance]: instance },
    },
    type,
    stringData: Object.fromEntries(
      Object.entries(data).filter((entry): entry is [string, string] => entry[1] !== undefined),
    ),
  });
  const manifests = [
    ...(databaseUrl === undefined
      ? []
      : [
          manifest('database', {
            DATABASE_URL: databaseUrl,
            REDIS_URL: options.redisUrl,
            MONGODB_URL: options.mongodbUrl,
          }),
        ]),
    manifest('encryption', { WORMHOLE_ENCRYPTION_KEYS: encryptionKeys }),
    manifest('egress-grants', { WORMHOLE_EGRESS_GRANT_KEY: key() }),
    manifest('gateway-tls', { 'tls.crt': tls.cert, 'tls.key': tls.key, 'ca.crt': ca }, 'kubernetes.io/tls'),
    ...(internalServices === undefined || internalServices.length === 0
      ? []
      : [manifest('local', { WORMHOLE_INTERNAL_SERVICES: JSON.stringify(internalServices) })]),
  ];
  return { encryptionKeys, manifests };
}

/** @returns a key ring of one new key, as text. */
export const newKeyRing = (): string => `${keyId()}:${randomBytes(KEY_BYTES).toString('base64')}`;

/** Says when the key was made, and tells two keys of a day apart: `k20261123-5f0c1a`. */
const keyId = (): string =>
  `k${new Date().toISOString().slice(0, 10).replaceAll('-', '')}-${randomBytes(3).toString('hex')}`;

/** @returns the certificates of a PEM file and nothing else that is in it. */
function certificatesIn(pem: string | undefined): string[] {
  if (pem === undefined) return [];
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    if (blocks.length > 0) return blocks.map((block) => new X509Certificate(block).toString());
  } catch {
    // Told below, without what was in it.
  }
  throw new WormholeError('CONFIG_INVALID', 'the trusted authorities are not certificates in PEM');
}
