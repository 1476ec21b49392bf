/**
 * Reads the header of a qcow2 file, which a tenant may have made with bad intent. A pure function over bytes.
 *
 * @see docs/interop/qcow2.rst of QEMU
 */

const MAGIC = 0x5146_49fb; // "QFI\xfb"
const V2_HEADER_BYTES = 72;
const V3_HEADER_BYTES_MIN = 104;
const CLUSTER_BITS_MIN = 9;
const CLUSTER_BITS_MAX = 21;
const BACKING_NAME_BYTES_MAX = 1023;
const EXTENSIONS_MAX = 64;

const OFFSET = {
  version: 4,
  backingOffset: 8,
  backingBytes: 16,
  clusterBits: 20,
  virtualBytes: 24,
  encryption: 32,
  incompatibleFeatures: 72,
  headerBytes: 100,
} as const;

const FEATURE_CORRUPT = 1n << 1n;
const FEATURE_EXTERNAL_DATA = 1n << 2n;
/** Dirty, corrupt, external data file, compression type, extended L2 entries. */
const FEATURES_KNOWN = 0b1_1111n;

const EXTENSION_END = 0;
const EXTENSION_BACKING_FORMAT = 0xe279_2aca;
const EXTENSION_EXTERNAL_DATA = 0x4441_5441; // "DATA"
const EXTENSION_ENCRYPTION = 0x0537_be77;

/** What the header says, or why the file is not to be used. */
export type Qcow2Header =
  | {
      readonly kind: "qcow2";
      readonly virtualBytes: bigint;
      /** The file under it, in its own words: never to be followed in a file that we did not make. */
      readonly backing?: { readonly path: string; readonly format?: string };
    }
  | { readonly kind: "refused"; readonly reason: string };

/** True if the bytes begin as QEMU's copy-on-write formats do, old or new. */
export function isQcow(head: Buffer): boolean {
  return head.length >= 8 && head.readUInt32BE(0) === MAGIC;
}

/**
 * Decodes a header. Never throws.
 *
 * @param head - the file from its start, with all header extensions in it
 */
export function decodeQcow2Header(head: Buffer): Qcow2Header {
  if (!isQcow(head)) return refused("is no qcow2 file");
  if (head.length < V2_HEADER_BYTES) return refused("is cut off inside its header");
  const version = head.readUInt32BE(OFFSET.version);
  if (version === 1)
    return refused("is of the old format qcow; convert it: qemu-img convert -O qcow2");
  if (version !== 2 && version !== 3) return refused(`is qcow2 of the unknown version ${version}`);
  const clusterBits = head.readUInt32BE(OFFSET.clusterBits);
  if (clusterBits < CLUSTER_BITS_MIN || clusterBits > CLUSTER_BITS_MAX) {
    return refused(`has clusters of 2^${clusterBits} bytes, which qcow2 does not have`);
  }
  if (head.readUInt32BE(OFFSET.encryption) !== 0) return refused(ENCRYPTED);
  const length = headerLength(head, version);
  if (typeof length === "string") return refused(length);
  const extensions = readExtensions(head, length, 2 ** clusterBits);
  if (typeof extensions === "string") return refused(extensions);
  const backing = readBacking(head, extensions.backingFormat);
  if (typeof backing === "string") return refused(backing);
  const virtualBytes = head.readBigUInt64BE(OFFSET.virtualBytes);
  return { kind: "qcow2", virtualBytes, ...(backing && { backing }) };
}

const ENCRYPTED = "is encrypted, and the fabric has no key; decrypt it: qemu-img convert";
const EXTERNAL_DATA =
  "keeps its data in another file, which could be any file of this host; join them: qemu-img convert";

function refused(reason: string): Qcow2Header {
  return { kind: "refused", reason };
}

/** Bytes of the fixed header, or what is wrong. */
function headerLength(head: Buffer, version: number): number | string {
  if (version === 2) return V2_HEADER_BYTES;
  if (head.length < V3_HEADER_BYTES_MIN) return "is cut off inside its header";
  const features = head.readBigUInt64BE(OFFSET.incompatibleFeatures);
  if ((features & FEATURE_EXTERNAL_DATA) !== 0n) return EXTERNAL_DATA;
  if ((features & FEATURE_CORRUPT) !== 0n)
    return "is marked as corrupt; repair it: qemu-img check -r";
  if ((features & ~FEATURES_KNOWN) !== 0n) return "uses features of qcow2 that are not known here";
  const length = head.readUInt32BE(OFFSET.headerBytes);
  const valid = length >= V3_HEADER_BYTES_MIN && length <= head.length && length % 8 === 0;
  return valid ? length : `has a header of ${length} bytes, which cannot be`;
}

function readExtensions(
  head: Buffer,
  start: number,
  clusterBytes: number,
): { backingFormat?: string } | string {
  const end = Math.min(head.length, clusterBytes);
  const found: { backingFormat?: string } = {};
  let at = start;
  for (let count = 0; count < EXTENSIONS_MAX && at + 8 <= end; count += 1) {
    const type = head.readUInt32BE(at);
    const length = head.readUInt32BE(at + 4);
    if (type === EXTENSION_END) return found;
    if (at + 8 + length > end) return "has a header extension that is longer than its header";
    if (type === EXTENSION_EXTERNAL_DATA) return EXTERNAL_DATA;
    if (type === EXTENSION_ENCRYPTION) return ENCRYPTED;
    if (type === EXTENSION_BACKING_FORMAT) {
      found.backingFormat = head.toString("latin1", at + 8, at + 8 + length);
    }
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return at + 8 > end ? found : `has more than ${EXTENSIONS_MAX} header extensions`;
}

function readBacking(
  head: Buffer,
  format: string | undefined,
): { path: string; format?: string } | undefined | string {
  const offset = head.readBigUInt64BE(OFFSET.backingOffset);
  const length = head.readUInt32BE(OFFSET.backingBytes);
  if (offset === 0n) return undefined;
  const end = offset + BigInt(length);
  if (length === 0 || length > BACKING_NAME_BYTES_MAX || end > BigInt(head.length)) {
    return "names a backing file outside its header";
  }
  const path = head.toString("utf8", Number(offset), Number(end));
  return { path, ...(format !== undefined && { format }) };
}
