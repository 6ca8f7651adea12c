/** @returns the list's members in turn, again and again. @throws {RangeError} when it has none. */
export function inTurn<T>(list: readonly T[], index: number): T {
  const member = list[index % list.length];
  if (member === undefined) throw new RangeError('nothing to take in turn');
  return member;
}
