import pg from 'pg';
import { openGateway } from '../open-gateway.ts';
import { KeyRing } from '../secrets/cipher.ts';
import { openLogStore } from '../store/logs/open.ts';
import { WormholeError } from '../errors.ts';
import { required, type ComponentContext, type OpenComponent } from './component.ts';
import { DatabaseProbe, untilAvailable } from './database.ts';
import type { GatewayDoor } from './gateway-door.ts';

const POOL_CONNECTIONS = 20;

/** The run gateway: hands each run its payload, and takes its reports. */
export const openGatewayComponent: OpenComponent = async (context) => {
  const { config, probes, metrics, log, signal } = context;
  const databaseUrl = required('DATABASE_URL', config.databaseUrl);
  const keys = KeyRing.parse(required('WORMHOLE_ENCRYPTION_KEYS', config.encryptionKeys));
  const grantKey = Buffer.from(required('WORMHOLE_EGRESS_GRANT_KEY', config.egressGrantKey), 'base64');
  await using opened = new AsyncDisposableStack();

  const door = await openDoor(context);
  const database = opened.use(new DatabaseProbe(databaseUrl));
  probes.follow(() => database.reasons({ needsSchema: true }));
  const onLost = (error: Error): void => log.warn({ error: error.message }, 'a connection was lost');
  const pool = new pg.Pool({ connectionString: databaseUrl, max: POOL_CONNECTIONS });
  pool.on('error', onLost);
  opened.defer(() => pool.end());
  await untilAvailable(() => waitForSchema(database), { log, signal });
  const logs = await untilAvailable(
    () => openLogStore({ pool, mongodbUrl: config.mongodbUrl, log: (message) => log.warn(message) }),
    { log, signal },
  );
  opened.defer(() => logs.close());

  const { internalServices } = config;
  const { egressProxyUrl } = door;
  const gateway = openGateway({
    ...{ pool, keys, grantKey, logs, internalServices, egressProxyUrl, metrics, log },
  });
  opened.defer(() => gateway.close());
  opened.use(door);
  probes.follow(async () => [...(await database.reasons({ needsSchema: true })), ...door.reasons()]);
  await door.open(gateway);
  const all = opened.move();
  return { stop: () => all.disposeAsync() };
};

/** Loaded only where they are used: neither kind of door needs the other's libraries. */
async function openDoor(context: ComponentContext): Promise<GatewayDoor> {
  const { config, log } = context;
  if (config.kubernetes === undefined) return (await import('./folder-door.ts')).folderDoor(config, log);
  return await (await import('./cluster-door.ts')).clusterDoor(context, config.kubernetes);
}

async function waitForSchema(database: DatabaseProbe): Promise<void> {
  const [reason] = await database.reasons({ needsSchema: true });
  if (reason !== undefined) throw new WormholeError('DATABASE_UNAVAILABLE', reason);
}
