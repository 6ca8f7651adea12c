import type { Servers } from '../host-protocol.ts';
import type { StartServer } from './server.ts';

export const startTestMongodb: StartServer<Servers['mongodb']> = () =>
  Promise.resolve({ missing: 'not yet' });
