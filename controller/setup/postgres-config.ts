/** The only role, a superuser; only the operating system's user that started the server may become it. */
export const ROLE = 'wormhole';
/** Name of the mapping in pg_ident.conf from that user to the role. */
export const PEER_MAP = 'owner';

/** Names the socket where nothing listens on TCP. */
export const SOCKET_PORT = 5432;

/** An address of this machine that the server also listens on. */
export interface NetworkAddress {
  readonly address: string;
  readonly port: number;
}

/** @returns the whole pg_hba.conf: who comes over the network, to the one address that is listened on, has a password. */
export const accessConfig = (listen: NetworkAddress | undefined): string =>
  `local all ${ROLE} peer map=${PEER_MAP}\n${listen === undefined ? '' : `host all ${ROLE} all scram-sha-256\n`}`;

/**
 * @returns the whole postgresql.conf. It is written before every start, so a new version's settings reach old
 * data folders. Numbers suit one machine that also runs the containers.
 */
export function serverConfig(options: {
  readonly socketDir: string;
  readonly durable: boolean;
  readonly listen: NetworkAddress | undefined;
}): string {
  const onlyIfDurable = options.durable ? 'on' : 'off';
  const settings: Readonly<Record<string, string | number>> = {
    listen_addresses: options.listen?.address ?? '',
    port: options.listen?.port ?? SOCKET_PORT,
    unix_socket_directories: `"${options.socketDir}"`,
    unix_socket_permissions: '0700',
    // Every BullMQ worker holds one connection.
    max_connections: 200,
    shared_buffers: '64MB',
    fsync: onlyIfDurable,
    full_page_writes: onlyIfDurable,
    // No replicas: the write-ahead log serves crash recovery alone.
    wal_level: 'minimal',
    max_wal_senders: 0,
    min_wal_size: '32MB',
    max_wal_size: '256MB',
    io_method: 'sync',
    max_parallel_workers_per_gather: 0,
    jit: 'off',
    timezone: 'UTC',
    log_timezone: 'UTC',
    log_checkpoints: 'off',
    // Statements and details of errors can hold payloads.
    log_min_error_statement: 'panic',
    log_error_verbosity: 'terse',
  };
  return Object.entries(settings)
    .map(([name, value]) => `${name} = '${String(value).replaceAll("'", "''")}'\n`)
    .join('');
}
