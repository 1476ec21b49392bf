/**
 * Checks the package of a VM extension before a guest unpacks it as root: names that stay inside, plain files only, data
 * that is whole and not larger than it says, and a manifest that an agent can run.
 */
import { crc32 } from "node:zlib";
import yauzl from "yauzl";
import { errorText, FabricError } from "../../model/errors.ts";
import { checkHandlerManifest, MANIFEST_FILE } from "./handler-manifest.ts";
import { PACKAGE_ENTRIES_MAX, UNPACKED_BYTES_MAX } from "./package-bounds.ts";

const MANIFEST_BYTES_MAX = 1024 * 1024;
const MADE_BY_UNIX = 3;
const TYPE_MASK = 0o170000;
/** No type, a file, a folder. */
const TYPES: ReadonlySet<number> = new Set([0, 0o100000, 0o040000]);

/**
 * Reads the whole zip.
 *
 * @param file - the zip
 * @param source - what the user named: the zip, or the folder that it was made from
 * @throws FabricError ERR_USAGE_EXTENSION naming the entry and what is wrong with it
 */
export async function checkPackage(file: string, source: string): Promise<void> {
  try {
    const names = new Set<string>();
    const manifest = await readEntries(file, names);
    if (manifest === undefined) throw noManifest(names);
    const text = new TextDecoder("utf-8", { fatal: true }).decode(manifest);
    checkHandlerManifest(text, `${source}/${MANIFEST_FILE}`, (name) => names.has(name));
  } catch (error) {
    if (error instanceof FabricError) throw error;
    throw new FabricError("ERR_USAGE_EXTENSION", `${source}: ${errorText(error)}`);
  }
}

/** @returns the manifest; fills `names` with those of all files */
async function readEntries(file: string, names: Set<string>): Promise<Buffer | undefined> {
  const zip = await openZip(file);
  let manifest: Buffer | undefined;
  try {
    if (zip.entryCount > PACKAGE_ENTRIES_MAX) {
      throw new Error(`has more than ${PACKAGE_ENTRIES_MAX} files; leave out what is not needed`);
    }
    const sum = { packed: 0, unpacked: 0 };
    for await (const entry of zip.eachEntry()) {
      const { fileName } = entry;
      checkEntry(entry);
      if (names.has(fileName)) throw new Error(`has ${fileName} twice`);
      sum.packed += entry.compressedSize;
      sum.unpacked += entry.uncompressedSize;
      // Entries that share their data would be unpacked again and again.
      if (sum.packed > zip.fileSize) throw new Error("has entries that overlap");
      if (sum.unpacked > UNPACKED_BYTES_MAX) {
        throw new Error(`unpacks to more than ${UNPACKED_BYTES_MAX / (1024 * 1024)} MiB`);
      }
      if (fileName.endsWith("/")) continue;
      names.add(fileName);
      const data = await readEntry(zip, entry);
      if (fileName === MANIFEST_FILE) manifest = data;
    }
  } finally {
    zip.close();
  }
  return manifest;
}

async function openZip(file: string): Promise<yauzl.ZipFile> {
  const options = { lazyEntries: true, autoClose: false, strictFileNames: true };
  try {
    return await yauzl.openPromise(file, options);
  } catch (error) {
    throw new Error(`is no zip, and no folder: ${errorText(error)}`);
  }
}

function checkEntry(entry: yauzl.Entry): void {
  const { fileName, versionMadeBy, externalFileAttributes } = entry;
  const shown = JSON.stringify(fileName);
  if (/\p{Cc}/u.test(fileName)) throw new Error(`has an entry ${shown} with a control character`);
  if (entry.isEncrypted()) throw new Error(`${shown} is encrypted; agents have no password for it`);
  if (!entry.canDecodeFileData()) {
    throw new Error(`${shown} is compressed in a way that agents do not know; use deflate`);
  }
  const type = (externalFileAttributes >>> 16) & TYPE_MASK;
  if (versionMadeBy >>> 8 === MADE_BY_UNIX && !TYPES.has(type)) {
    throw new Error(`${shown} is no plain file; put the file itself there`);
  }
}

/** Unpacks the data of every file; returns that of the manifest only. */
async function readEntry(zip: yauzl.ZipFile, entry: yauzl.Entry): Promise<Buffer | undefined> {
  const { fileName } = entry;
  const isKept = fileName === MANIFEST_FILE;
  if (isKept && entry.uncompressedSize > MANIFEST_BYTES_MAX) {
    throw new Error(`${MANIFEST_FILE} is larger than 1 MiB`);
  }
  const kept: Buffer[] = [];
  let sum = 0;
  // It ends with an error if there is more or less data than the entry says.
  for await (const chunk of await zip.openReadStreamPromise(entry)) {
    sum = crc32(chunk as Buffer, sum);
    if (isKept) kept.push(chunk as Buffer);
  }
  if (sum !== entry.crc32) throw new Error(`${fileName} is damaged: its CRC-32 is another`);
  return isKept ? Buffer.concat(kept) : undefined;
}

function noManifest(names: ReadonlySet<string>): Error {
  const below = [...names].find((name) => name.endsWith(`/${MANIFEST_FILE}`));
  if (below === undefined)
    return new Error(`has no ${MANIFEST_FILE}; it is an extension's description`);
  return new Error(`has its ${MANIFEST_FILE} at ${below}; it must be at the top`);
}
