/**
 * A download under way: the bytes so far, and beside them what the server said of the file. A process may be killed at
 * any moment; the next one goes on where the bytes end, if the server still has the same file.
 */

import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { z } from "zod";

const BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id";

const ValidatorsSchema = z.object({
  etag: z.string().optional(),
  lastModified: z.string().optional(),
});
const PartStateSchema = ValidatorsSchema.extend({
  totalBytes: z.int().optional(),
  bootId: z.string(),
});

/** What a server says of the version of a file. */
export type Validators = z.output<typeof ValidatorsSchema>;

/** The version, and how long it is where the server says so. */
export interface RemoteFile extends Validators {
  readonly totalBytes?: number | undefined;
}

/** An open part file. Only the holder of its lock may have one. */
export class PartFile implements AsyncDisposable {
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #bootId: string;
  #hash: Hash;
  #sizeBytes = 0;
  #remote: RemoteFile = {};

  private constructor(path: string, file: FileHandle, bootId: string) {
    this.#path = path;
    this.#file = file;
    this.#bootId = bootId;
    this.#hash = createHash("sha256");
  }

  /**
   * Opens the part, and reads what is there already for its checksum.
   *
   * @param isVerified - a checksum will judge the whole. Else a part from before the last boot of this machine is not
   *   gone on with: after a power cut it may have holes.
   */
  static async open(path: string, isVerified: boolean, signal: AbortSignal): Promise<PartFile> {
    const bootId = (await readFile(BOOT_ID_FILE, "utf8")).trim();
    const part = new PartFile(path, await open(path, "a", 0o600), bootId);
    const state = await readPartState(path);
    try {
      if (state === undefined || (!isVerified && state.bootId !== bootId)) await part.begin({});
      else await part.#readAgain(state, signal);
    } catch (error) {
      await part[Symbol.asyncDispose]();
      throw error;
    }
    return part;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get remote(): RemoteFile {
    return this.#remote;
  }

  /** True if every byte is here, as far as the server told how many there are. */
  get isWhole(): boolean {
    return this.#remote.totalBytes !== undefined && this.#sizeBytes === this.#remote.totalBytes;
  }

  /** Drops what is there and begins a file of this version. */
  async begin(remote: RemoteFile): Promise<void> {
    await this.#file.truncate(0);
    this.#hash = createHash("sha256");
    this.#sizeBytes = 0;
    this.#remote = remote;
    const state = { ...remote, bootId: this.#bootId };
    await writeFile(`${statePath(this.#path)}.new`, JSON.stringify(state), { mode: 0o600 });
    await rename(`${statePath(this.#path)}.new`, statePath(this.#path));
  }

  async append(bytes: Uint8Array): Promise<void> {
    await this.#file.appendFile(bytes);
    this.#hash.update(bytes);
    this.#sizeBytes += bytes.length;
  }

  /** The checksum of what is there. */
  sha256(): string {
    return this.#hash.copy().digest("hex");
  }

  /** Moves the bytes to `path`, read-only and on the disk for good. */
  async publish(path: string): Promise<void> {
    await this.#file.chmod(0o444);
    await this.#file.sync();
    await rename(this.#path, path);
    await rm(statePath(this.#path), { force: true });
  }

  async remove(): Promise<void> {
    await removePart(this.#path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }

  async #readAgain(remote: RemoteFile, signal: AbortSignal): Promise<void> {
    this.#remote = remote;
    for await (const chunk of createReadStream(this.#path, { signal, highWaterMark: 262_144 })) {
      this.#hash.update(chunk);
      this.#sizeBytes += chunk.length;
    }
  }
}

/** What is known of a part that another process writes. */
export async function readPartState(
  path: string,
): Promise<z.output<typeof PartStateSchema> | undefined> {
  const text = await readFile(statePath(path), "utf8").catch(() => "");
  try {
    return PartStateSchema.parse(JSON.parse(text));
  } catch {
    return undefined; // none, or not ours: the download begins anew
  }
}

/** Removes a part and what is known of it. */
export async function removePart(path: string): Promise<void> {
  await rm(path, { force: true });
  await rm(statePath(path), { force: true });
}

function statePath(path: string): string {
  return `${path}.json`;
}
