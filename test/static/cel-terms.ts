type Span = readonly [start: number, end: number];

/** @returns where the operands of `&&` are, however deep in the expression. */
const termsOf = (expression: string): Span[] => {
  const code = expression.replace(/"(?:[^"\\]|\\.)*"/g, (text) => '_'.repeat(text.length));
  const found: Span[] = [];
  const groups: { start: number; terms: Span[] }[] = [{ start: 0, terms: [] }];
  const close = (end: number): void => {
    const { start, terms } = groups.pop()!;
    if (terms.length > 0) found.push(...terms, [start, end]);
  };
  for (const { 0: token, index } of code.matchAll(/&&|\|\||[,()[\]{}]/g)) {
    const next = { start: index + token.length, terms: [] };
    if ('([{'.includes(token)) groups.push(next);
    else if (')]}'.includes(token)) close(index);
    else if (token === '&&') {
      const group = groups.at(-1)!;
      group.terms.push([group.start, index]);
      group.start = next.start;
    } else {
      close(index);
      groups.push(next);
    }
  }
  close(code.length);
  return found;
};

/** @returns a CEL expression once for each of its terms, with that term taken for true. It must have no ternary. */
export const withoutEachTerm = (expression: string): string[] =>
  termsOf(expression).map(([start, end]) => `${expression.slice(0, start)} true ${expression.slice(end)}`);
