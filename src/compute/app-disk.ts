/** Makes the disk that carries a tenant's app into its containers: an ext4 image of the app's folder. */

import { createHash, type Hash } from "node:crypto";
import { chmod, lstat, readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import { FabricError } from "../model/errors.ts";
import { type FolderSize, roundToBlock, writeExt4Image } from "./guest/ext4-image.ts";
import { exists, publishFolder } from "./guest/publish-folder.ts";

/** A file that every app has: its manifest. */
const MANIFEST = "app.json";
const APP_BYTES_MAX = 2 ** 30;
const APP_ENTRIES_MAX = 100_000;

/**
 * The disk image of `appFolder`, made if no image of the same content is in the cache.
 *
 * @returns the path of an image that is never changed, safe to share between containers
 * @throws FabricError ERR_APP_MISSING, ERR_APP_TOO_LARGE, ERR_APP_ENTRY, ERR_TOOL_MISSING, ERR_TOOL_FAILED
 */
export async function buildAppDisk(options: {
  readonly appFolder: string;
  readonly cacheDirectory: string;
  readonly signal?: AbortSignal | undefined;
}): Promise<string> {
  const { appFolder, cacheDirectory, signal } = options;
  if (!(await exists(join(appFolder, MANIFEST)))) {
    throw new FabricError(
      "ERR_APP_MISSING",
      `Cannot make an app disk of ${appFolder}: it has no ${MANIFEST}`,
    );
  }
  const { identity, size } = await measureFolder(appFolder);
  const folder = await publishFolder(cacheDirectory, `app-disk-${identity}`, async (aside) => {
    const file = join(aside, "app.img");
    await writeExt4Image({ folder: appFolder, file, label: "gs-app", identity, size, signal });
    await chmod(file, 0o444);
  });
  return join(folder, "app.img");
}

interface Measured {
  readonly hash: Hash;
  contentBytes: number;
  entryCount: number;
}

async function measureFolder(root: string): Promise<{ identity: string; size: FolderSize }> {
  const measured: Measured = { hash: createHash("sha256"), contentBytes: 0, entryCount: 0 };
  const waiting = [""];
  for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
    const names = (await readdir(join(root, folder))).sort();
    for (const name of names) {
      const path = join(folder, name);
      if (await measureEntry(root, path, measured)) waiting.push(path);
    }
    assertSize(root, measured);
  }
  return { identity: measured.hash.digest("hex").slice(0, 16), size: measured };
}

/** Adds one entry to the measure; true if it is a folder. */
async function measureEntry(root: string, path: string, measured: Measured): Promise<boolean> {
  const stat = await lstat(join(root, path));
  const kind = stat.isDirectory() ? "d" : stat.isFile() ? "f" : stat.isSymbolicLink() ? "l" : "?";
  if (kind === "?") {
    throw new FabricError(
      "ERR_APP_ENTRY",
      `Cannot make an app disk of ${root}: ${path} is neither a file, a folder nor a link`,
    );
  }
  measured.entryCount += 1;
  measured.contentBytes += roundToBlock(stat.size);
  assertSize(root, measured);
  const content = kind === "f" ? await readFile(join(root, path)) : Buffer.alloc(0);
  const target = kind === "l" ? await readlink(join(root, path)) : "";
  const head = [kind, stat.mode & 0o777, Buffer.byteLength(path), content.length, path, target];
  measured.hash.update(`${head.join(" ")}\0`).update(content);
  return kind === "d";
}

function assertSize(root: string, measured: Measured): void {
  if (measured.contentBytes <= APP_BYTES_MAX && measured.entryCount <= APP_ENTRIES_MAX) return;
  throw new FabricError(
    "ERR_APP_TOO_LARGE",
    `Cannot make an app disk of ${root}: more than 1 GiB or ${APP_ENTRIES_MAX} entries`,
  );
}
