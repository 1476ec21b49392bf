/** The Internet checksum: ones' complement of the ones' complement sum of 16-bit words (RFC 1071). */

/**
 * Adds the 16-bit words of `[start, end)` to `sum`, network byte order; an odd last octet counts as a high octet.
 * The result is not folded: it stays exact for up to 65,536 octets. Two words are read at a time, which halves the cost.
 */
export function sumWords(view: DataView, start: number, end: number, sum: number): number {
  let high = 0;
  let low = 0;
  let cursor = start;
  for (; cursor + 3 < end; cursor += 4) {
    const words = view.getInt32(cursor);
    high += words >>> 16;
    low += words & 0xffff;
  }
  let total = sum + high + low;
  for (; cursor + 1 < end; cursor += 2) total += view.getUint16(cursor);
  return cursor < end ? total + (view.getUint8(cursor) << 8) : total;
}

/** The sum of the IPv4 pseudo header (RFC 768), to which the UDP header and payload are added; not folded. */
export function sumPseudoHeader(
  sourceIp: number,
  destinationIp: number,
  protocol: number,
  length: number,
): number {
  const source = (sourceIp >>> 16) + (sourceIp & 0xffff);
  const destination = (destinationIp >>> 16) + (destinationIp & 0xffff);
  return source + destination + protocol + length;
}

/** Folds a sum of 16-bit words below 2^32 to 16 bits; 0xffff if the summed data carried a correct checksum. */
export function foldSum(sum: number): number {
  const once = (sum >>> 16) + (sum & 0xffff);
  return (once >>> 16) + (once & 0xffff);
}

/** The value for a checksum field, given the sum over the data with that field as zero. */
export function checksumOf(sum: number): number {
  return ~foldSum(sum) & 0xffff;
}
