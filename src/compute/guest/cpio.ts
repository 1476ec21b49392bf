/**
 * Writes "newc" cpio archives, the format of an initramfs. Several archives may follow each other in one file: the
 * kernel unpacks each over the former.
 *
 * ```
 * "070701" ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
 *          (13 fields of 8 hexadecimal digits), name NUL, padding to 4, content, padding to 4
 * ```
 *
 * @see Documentation/driver-api/early-userspace/buffer-format.rst in the kernel's source
 */

const MAGIC = "070701";
const HEADER_BYTES = 110;
const TRAILER = "TRAILER!!!";
const TYPE_FOLDER = 0o040000;
const TYPE_FILE = 0o100000;
const TYPE_SYMLINK = 0o120000;

/** One entry. Paths are relative, without a leading `./`; a folder comes before what is in it. */
export type CpioEntry =
  | { readonly kind: "folder"; readonly path: string }
  | {
      readonly kind: "file";
      readonly path: string;
      readonly content: Uint8Array;
      readonly executable: boolean;
    }
  | { readonly kind: "symlink"; readonly path: string; readonly target: string };

/**
 * Renders an archive. The same entries always give the same bytes: owner is root, time is zero, inodes count up.
 */
export function encodeCpio(entries: readonly CpioEntry[]): Uint8Array {
  const parts: Uint8Array[] = [];
  entries.forEach((entry, index) => {
    parts.push(...encodeEntry(entry.path, index + 1, modeOf(entry), contentOf(entry)));
  });
  parts.push(...encodeEntry(TRAILER, 0, 0, new Uint8Array()));
  return Buffer.concat(parts);
}

/** The folders that `paths` are in, each once, parents first. */
export function foldersOf(paths: readonly string[]): CpioEntry[] {
  const folders = new Set<string>();
  for (const path of paths) {
    const names = path.split("/");
    for (let depth = 1; depth < names.length; depth++) folders.add(names.slice(0, depth).join("/"));
  }
  return [...folders].sort().map((path) => ({ kind: "folder", path }));
}

function modeOf(entry: CpioEntry): number {
  switch (entry.kind) {
    case "folder":
      return TYPE_FOLDER | 0o755;
    case "file":
      return TYPE_FILE | (entry.executable ? 0o755 : 0o644);
    case "symlink":
      return TYPE_SYMLINK | 0o777;
  }
}

function contentOf(entry: CpioEntry): Uint8Array {
  switch (entry.kind) {
    case "folder":
      return new Uint8Array();
    case "file":
      return entry.content;
    case "symlink":
      return Buffer.from(entry.target);
  }
}

function encodeEntry(path: string, inode: number, mode: number, content: Uint8Array): Uint8Array[] {
  const name = Buffer.from(`${path}\0`);
  const nlink = 1;
  const fields = [inode, mode, 0, 0, nlink, 0, content.length, 0, 0, 0, 0, name.length, 0];
  const header = MAGIC + fields.map((field) => field.toString(16).padStart(8, "0")).join("");
  return [
    Buffer.from(header, "latin1"),
    name,
    padding(HEADER_BYTES + name.length),
    content,
    padding(content.length),
  ];
}

function padding(lengthBytes: number): Uint8Array {
  return new Uint8Array((4 - (lengthBytes % 4)) % 4);
}
