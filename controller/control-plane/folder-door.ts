import type { Logger } from 'pino';
import { EGRESS_MOUNT } from '../backends/docker/container-spec.ts';
import { EGRESS_SOCKET, GATEWAY_SOCKET } from '../backends/docker/run-folder.ts';
import type { PlatformConfig } from '../config.ts';
import { FolderSockets } from '../folder-sockets.ts';
import { runDirs } from './run-dirs.ts';
import type { GatewayDoor } from './gateway-door.ts';

/** A socket in the folder of every run of this machine. */
export function folderDoor(config: PlatformConfig, log: Logger): GatewayDoor {
  const { gateway: dir } = runDirs(config);
  let sockets: FolderSockets | undefined;
  return {
    egressProxyUrl: `unix:${EGRESS_MOUNT}/${EGRESS_SOCKET}`,
    reasons: () => sockets?.reasons() ?? ['the run folders were not looked at yet'],
    open: async (gateway) => {
      sockets = await FolderSockets.start({
        ...{ dir, file: GATEWAY_SOCKET, log },
        listen: (path, ref) => gateway.listenOn(path, ref),
      });
      log.info({ dir }, 'the gateway listens in the run folders');
    },
    [Symbol.asyncDispose]: async () => await sockets?.close(),
  };
}
