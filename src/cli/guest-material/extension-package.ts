/** Makes the package of a VM extension from a folder, the same bytes for the same files; or takes the zip that there is. */
import { createWriteStream } from "node:fs";
import { constants, copyFile, lstat, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import yazl from "yazl";
import { FabricError } from "../../model/errors.ts";
import { checkPackage } from "./check-package.ts";
import { PACKAGE_BYTES_MAX, PACKAGE_ENTRIES_MAX, UNPACKED_BYTES_MAX } from "./package-bounds.ts";

/** A file of the folder. */
interface FoundFile {
  /** Relative to the folder, with `/`. */
  readonly name: string;
  readonly path: string;
  readonly isExecutable: boolean;
}

/**
 * Writes a checked package.
 *
 * @param source - a folder, or a zip
 * @param file - does not exist yet
 * @throws FabricError ERR_USAGE_EXTENSION naming what is wrong
 */
export async function writePackage(source: string, file: string): Promise<void> {
  const found = await look(source);
  if (found.isDirectory()) await packFolder(source, file);
  else if (!found.isFile()) throw wrong(source, "is neither a folder nor a zip");
  else {
    refuseLarge(source, found.size);
    await copyFile(source, file, constants.COPYFILE_EXCL);
  }
  refuseLarge(source, (await stat(file)).size);
  await checkPackage(file, source);
}

async function packFolder(folder: string, file: string): Promise<void> {
  const zip = new yazl.ZipFile();
  const mtime = new Date(2000, 0, 1); // local, as times in zips are: the same bytes in every time zone
  for (const { name, path, isExecutable } of await listFiles(folder)) {
    const mode = isExecutable ? 0o100755 : 0o100644;
    zip.addFile(path, name, { mtime, mode, forceDosTimestamp: true });
  }
  zip.end();
  const failed = new AbortController();
  zip.once("error", (error) => failed.abort(error));
  try {
    const output = createWriteStream(file, { flags: "wx", mode: 0o600 });
    await pipeline(zip.outputStream, output, { signal: failed.signal });
  } catch (error) {
    const cause: unknown = failed.signal.aborted ? failed.signal.reason : error;
    throw new FabricError("ERR_USAGE_EXTENSION", `Cannot read ${folder}`, { cause });
  }
}

/** In the order of their names, whatever the file system's. */
async function listFiles(folder: string): Promise<FoundFile[]> {
  const files: FoundFile[] = [];
  let bytes = 0;
  const visit = async (path: string, prefix: string): Promise<void> => {
    const names = await readdir(path);
    for (const name of names.toSorted((a, b) => (a < b ? -1 : 1))) {
      const child = join(path, name);
      const found = await look(child);
      if (found.isDirectory()) await visit(child, `${prefix}${name}/`);
      else if (!found.isFile()) throw wrong(child, refusedKind(found.isSymbolicLink()));
      else {
        const isExecutable = (found.mode & 0o111) !== 0;
        files.push({ name: prefix + name, path: child, isExecutable });
        bytes += found.size;
      }
      if (files.length > PACKAGE_ENTRIES_MAX) {
        throw wrong(
          folder,
          `has more than ${PACKAGE_ENTRIES_MAX} files; leave out what is not needed`,
        );
      }
      if (bytes > UNPACKED_BYTES_MAX) {
        throw wrong(
          folder,
          `has more than ${mib(UNPACKED_BYTES_MAX)} MiB; leave out what is not needed`,
        );
      }
    }
  };
  await visit(folder, "");
  return files;
}

function refusedKind(isLink: boolean): string {
  return isLink
    ? "is a symbolic link; put the file itself there"
    : "is neither a file nor a folder; take it out";
}

async function look(path: string) {
  try {
    return await lstat(path);
  } catch (cause) {
    throw new FabricError("ERR_USAGE_EXTENSION", `Cannot read ${path}`, { cause });
  }
}

function refuseLarge(source: string, bytes: number): void {
  if (bytes <= PACKAGE_BYTES_MAX) return;
  const max = mib(PACKAGE_BYTES_MAX);
  throw wrong(source, `is larger than ${max} MiB as a zip; leave out what is not needed`);
}

function mib(bytes: number): number {
  return bytes / (1024 * 1024);
}

function wrong(place: string, text: string): FabricError {
  return new FabricError("ERR_USAGE_EXTENSION", `${place}: ${text}`);
}
