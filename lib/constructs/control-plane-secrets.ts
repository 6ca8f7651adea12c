import type { k8s } from '../../imports/k8s.ts';

/**
 * The Secrets of the control plane. They are made outside GitOps; a component mounts only those that it needs, and each
 * key is a file named as the variable that it stands for.
 */
export const SECRETS = {
  database: {
    name: 'wormhole-database',
    items: [{ key: 'DATABASE_URL', path: 'DATABASE_URL' }],
  },
  /** Where logs are, if not in PostgreSQL. A pod does not start without a key that is not optional. */
  logs: {
    name: 'wormhole-database',
    optional: true,
    items: [{ key: 'MONGODB_URL', path: 'MONGODB_URL' }],
  },
  /** Where the queue is, if not in PostgreSQL. */
  queue: {
    name: 'wormhole-database',
    optional: true,
    items: [{ key: 'REDIS_URL', path: 'REDIS_URL' }],
  },
  /** Where traces go, if anywhere. */
  traces: {
    name: 'wormhole-traces',
    optional: true,
    items: [
      { key: 'OTEL_EXPORTER_OTLP_ENDPOINT', path: 'OTEL_EXPORTER_OTLP_ENDPOINT' },
      { key: 'OTEL_EXPORTER_OTLP_HEADERS', path: 'OTEL_EXPORTER_OTLP_HEADERS' },
    ],
  },
  /** The key ring that seals credentials. */
  encryption: {
    name: 'wormhole-encryption',
    items: [{ key: 'WORMHOLE_ENCRYPTION_KEYS', path: 'WORMHOLE_ENCRYPTION_KEYS' }],
  },
  /** The key that the gateway signs egress grants with. */
  egressGrants: {
    name: 'wormhole-egress-grants',
    items: [{ key: 'WORMHOLE_EGRESS_GRANT_KEY', path: 'WORMHOLE_EGRESS_GRANT_KEY' }],
  },
  /** Internal services beside the declared ones, where their addresses are known to the cluster only. */
  local: {
    name: 'wormhole-local',
    optional: true,
    items: [{ key: 'WORMHOLE_INTERNAL_SERVICES', path: 'WORMHOLE_INTERNAL_SERVICES' }],
  },
} as const satisfies Record<string, k8s.SecretProjection>;

/** The Secret with the gateway's certificate, its key and the authority that signed it. */
export const GATEWAY_TLS_SECRET = 'wormhole-gateway-tls';
