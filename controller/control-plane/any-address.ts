import { networkInterfaces } from 'node:os';

/** @returns the address that means all addresses: of both families where this machine has IPv6. */
export function anyAddress(): string {
  const addresses = Object.values(networkInterfaces()).flat();
  return addresses.some((address) => address?.family === 'IPv6') ? '::' : '0.0.0.0';
}
