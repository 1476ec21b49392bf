/** Offsets in a text as line and column, as editors count them. */

/**
 * Both count from 1; an offset past the end is the end. The text is looked at with the first call only.
 *
 * `LineCounter` of the yaml package is not used: it misses line ends in some texts that are not well-formed.
 */
export function placesIn(text: string): (offset: number) => { line: number; column: number } {
  let starts: number[] | undefined;
  return (offset) => {
    starts ??= [0, ...[...text.matchAll(/\n/g)].map(({ index }) => index + 1)];
    const at = Math.min(Math.max(offset, 0), text.length);
    let [low, high] = [0, starts.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (starts[middle]! <= at) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: at - starts[low]! + 1 };
  };
}
