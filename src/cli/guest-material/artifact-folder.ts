/** The files that the fabric keeps by their content: packages of extensions, each as SHA256.zip in one folder. */
import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ArtifactReference } from "../../model/documents.ts";
import type { WireArtifacts } from "../../wireserver/index.ts";

/** Of the data folder. */
export const ARTIFACTS_FOLDER = "artifacts";
const SHA256 = /^[0-9a-f]{64}$/;
const FILE = /^([0-9a-f]{64})\.zip$/;

/** See the file's comment. Any number of processes may read it; the control process alone writes. */
export class ArtifactFolder implements WireArtifacts {
  readonly #path: string;

  /** @param data - the fabric's data folder; nothing is made in it before the first file is added */
  constructor(data: string) {
    this.#path = join(data, ARTIFACTS_FOLDER);
  }

  /**
   * Keeps what `write` puts into the file that it is given. When it resolves, the file is durable.
   *
   * @throws as `write`, and as the file system; nothing is left then
   */
  async add(write: (file: string) => Promise<void>): Promise<ArtifactReference> {
    await mkdir(this.#path, { recursive: true, mode: 0o700 });
    const aside = join(this.#path, `new-${randomUUID()}`);
    try {
      await write(aside);
      const reference = await referenceTo(aside);
      await sync(aside);
      await rename(aside, this.#fileOf(reference.sha256));
      await sync(this.#path);
      return reference;
    } finally {
      await rm(aside, { force: true });
    }
  }

  async read(sha256: string, offset: number, length: number): Promise<Uint8Array> {
    if (!SHA256.test(sha256)) throw new TypeError("is no SHA-256 sum");
    await using file = await open(this.#fileOf(sha256));
    const buffer = Buffer.allocUnsafe(length);
    const { bytesRead } = await file.read(buffer, 0, length, offset);
    return buffer.subarray(0, bytesRead);
  }

  /** True if there is anything, complete or not. */
  async hasFiles(): Promise<boolean> {
    return (await this.#list()).length > 0;
  }

  /** Removes every file but those, also what an interrupted process left. Nothing may be added meanwhile. */
  async keepOnly(named: ReadonlySet<string>): Promise<void> {
    for (const name of await this.#list()) {
      const sha256 = FILE.exec(name)?.[1];
      if (sha256 === undefined || !named.has(sha256)) await rm(join(this.#path, name));
    }
  }

  #fileOf(sha256: string): string {
    return join(this.#path, `${sha256}.zip`);
  }

  async #list(): Promise<string[]> {
    try {
      return await readdir(this.#path);
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
      throw error;
    }
  }
}

async function referenceTo(file: string): Promise<ArtifactReference> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return { sha256: hash.digest("hex"), bytes: (await stat(file)).size };
}

async function sync(path: string): Promise<void> {
  await using file = await open(path);
  await file.sync();
}
