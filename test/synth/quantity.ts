const MILLI: Readonly<Record<string, bigint>> = {
  m: 1n,
  '': 1000n,
  Mi: 1000n * 1024n ** 2n,
  Gi: 1000n * 1024n ** 3n,
  Ti: 1000n * 1024n ** 4n,
  Pi: 1000n * 1024n ** 5n,
};

/** Reads a quantity independently of how lib writes it. @returns thousandths of a core, a byte or an object. */
export const milliOf = (quantity: string | number): bigint => {
  const [, digits, suffix] = /^(\d+)(m|[MGTP]i)?$/.exec(String(quantity)) ?? [];
  const factor = MILLI[suffix ?? ''];
  if (digits === undefined || factor === undefined) throw new Error(`${quantity} is not a whole quantity`);
  return BigInt(digits) * factor;
};
