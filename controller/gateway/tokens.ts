import { createHash, randomBytes } from 'node:crypto';

/** @returns a new bearer token: 256 random bits, URL-safe. Only its hash is ever stored. */
export const newToken = (): string => randomBytes(32).toString('base64url');

/** @returns what is stored of a token: its SHA-256. A random token needs no slow hash. */
export const hashToken = (token: string): Buffer => createHash('sha256').update(token).digest();
