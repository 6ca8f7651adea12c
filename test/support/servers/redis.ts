import type { Servers } from '../host-protocol.ts';
import type { StartServer } from './server.ts';

export const startTestRedis: StartServer<Servers['redis']> = () => Promise.resolve({ missing: 'not yet' });
