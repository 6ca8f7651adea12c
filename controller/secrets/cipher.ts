import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hkdfSync,
  randomBytes,
  type KeyObject,
} from 'node:crypto';
import { WormholeError } from '../errors.ts';

/** Layout: version, length of the key id, key id, nonce, ciphertext, tag. All before the nonce is authenticated too. */
const VERSION = 1;
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_ID = /^[A-Za-z0-9_-]{1,32}$/;
const BASE64 = /^[A-Za-z0-9+/_-]{43}=?$/;

/**
 * Seals and opens with AES-256-GCM under one of several keys, so that keys can be rotated: the first seals, every one
 * opens. Holds its keys where neither logs nor inspection reach them.
 */
export class KeyRing {
  readonly #keys: ReadonlyMap<string, KeyObject>;
  readonly #primary: { readonly id: string; readonly key: KeyObject };

  private constructor(keys: ReadonlyMap<string, KeyObject>, primary: { id: string; key: KeyObject }) {
    this.#keys = keys;
    this.#primary = primary;
  }

  /**
   * @param text `id:base64,id:base64`, keys of 32 bytes, the primary first.
   * @throws {WormholeError} ENCRYPTION_KEY_INVALID, which never shows any of the text but a valid id.
   */
  static parse(text: string): KeyRing {
    const keys = new Map<string, KeyObject>();
    let primary: { id: string; key: KeyObject } | undefined;
    for (const [index, entry] of text.split(',').entries()) {
      const [id = '', base64 = '', ...rest] = entry.trim().split(':');
      if (!KEY_ID.test(id) || base64 === '' || rest.length > 0) {
        throw invalid(
          `entry ${index + 1} of the encryption keys is not "id:base64"; an id has 1 to 32 of A-Z a-z 0-9 _ -`,
        );
      }
      if (keys.has(id)) throw invalid(`encryption key "${id}" is given twice`);
      const bytes = Buffer.from(base64, 'base64');
      if (!BASE64.test(base64) || bytes.length !== KEY_BYTES) {
        throw invalid(
          `encryption key "${id}" is not ${KEY_BYTES} bytes in base64; make one with "openssl rand -base64 32"`,
        );
      }
      const key = createSecretKey(bytes);
      keys.set(id, key);
      primary ??= { id, key };
    }
    if (primary === undefined) throw invalid('no encryption key is given');
    return new KeyRing(keys, primary);
  }

  /** @returns 32 bytes for another purpose, the same on every controller that has the same primary key (RFC 5869). */
  derive(purpose: string): Buffer {
    return Buffer.from(hkdfSync('sha256', this.#primary.key, '', `wormhole/${purpose}`, KEY_BYTES));
  }

  /**
   * @param aad what the plaintext belongs to; it opens only with the same.
   * @returns the sealed bytes, which name their key.
   */
  seal(plaintext: string | Buffer, aad: string): Buffer {
    const { id, key } = this.#primary;
    const header = Buffer.from([VERSION, id.length, ...Buffer.from(id, 'latin1')]);
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(Buffer.concat([header, Buffer.from(aad, 'utf8')]));
    const bytes = typeof plaintext === 'string' ? Buffer.from(plaintext, 'utf8') : plaintext;
    return Buffer.concat([header, nonce, cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
  }

  /** @throws {WormholeError} ENCRYPTION_KEY_INVALID if it was sealed with another key, for something else, or changed. */
  open(sealed: Buffer, aad: string): Buffer {
    const headerEnd = 2 + (sealed[1] ?? 0);
    if (sealed[0] !== VERSION || sealed.length < headerEnd + NONCE_BYTES + TAG_BYTES) {
      throw invalid('the sealed value is not one of ours, or was cut off');
    }
    const id = sealed.toString('latin1', 2, headerEnd);
    const key = this.#keys.get(id);
    if (key === undefined) {
      const name = KEY_ID.test(id) ? `"${id}"` : 'an unknown id';
      throw invalid(`a value was sealed with encryption key ${name}, which is not in the key ring; add it`);
    }
    const nonceEnd = headerEnd + NONCE_BYTES;
    const tagStart = sealed.length - TAG_BYTES;
    const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(headerEnd, nonceEnd), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(Buffer.concat([sealed.subarray(0, headerEnd), Buffer.from(aad, 'utf8')]));
    decipher.setAuthTag(sealed.subarray(tagStart));
    try {
      return Buffer.concat([decipher.update(sealed.subarray(nonceEnd, tagStart)), decipher.final()]);
    } catch (cause) {
      throw invalid(
        `a value does not open with encryption key "${id}": another key, another owner, or it was changed`,
        cause,
      );
    }
  }
}

const invalid = (message: string, cause?: unknown): WormholeError =>
  new WormholeError('ENCRYPTION_KEY_INVALID', message, { cause });
