/** The part of DER (X.690) that a certificate needs. Every function returns one encoded value. */

const CONTEXT_CONSTRUCTED = 0xa0;
const CONTEXT_PRIMITIVE = 0x80;

const sized = (tag: number, content: Buffer): Buffer => {
  const { length } = content;
  const hex = length.toString(16);
  const long = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex');
  const size = length < 0x80 ? [length] : [0x80 | long.length, ...long];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
};

export const sequence = (...values: readonly Buffer[]): Buffer => sized(0x30, Buffer.concat(values));
export const setOf = (value: Buffer): Buffer => sized(0x31, value);
export const TRUE: Buffer = Buffer.from([0x01, 0x01, 0xff]);
export const octets = (content: Buffer): Buffer => sized(0x04, content);
export const text = (value: string): Buffer => sized(0x0c, Buffer.from(value));

/** @param bytes a positive number, the highest byte first. */
export const integer = (...bytes: readonly number[]): Buffer =>
  sized(0x02, Buffer.from((bytes[0] ?? 0) >= 0x80 ? [0, ...bytes] : bytes));

/** @param unused how many of the last bits are padding. */
export const bits = (content: Buffer, unused = 0): Buffer =>
  sized(0x03, Buffer.concat([Buffer.from([unused]), content]));

/** @param dotted an object identifier, e.g. "2.5.4.3". */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const base128 = (arc: number): number[] => [
    ...(arc >= 0x80 ? base128(Math.floor(arc / 0x80)).map((byte) => byte | 0x80) : []),
    arc % 0x80,
  ];
  return sized(0x06, Buffer.from([first * 40 + second, ...rest].flatMap(base128)));
}

/** Before 2050 a UTCTime, from then on a GeneralizedTime (RFC 5280 §4.1.2.5). */
export function time(at: Date): Buffer {
  const digits = `${at.toISOString().replaceAll(/[-:T]/g, '').slice(0, 14)}Z`;
  return at.getUTCFullYear() < 2050
    ? sized(0x17, Buffer.from(digits.slice(2)))
    : sized(0x18, Buffer.from(digits));
}

/** A value under an explicit context tag. */
export const tagged = (tag: number, value: Buffer): Buffer => sized(CONTEXT_CONSTRUCTED | tag, value);
/** Content whose own tag the context tag replaces. */
export const implicit = (tag: number, content: Buffer): Buffer => sized(CONTEXT_PRIMITIVE | tag, content);
