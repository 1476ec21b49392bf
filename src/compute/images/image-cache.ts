/**
 * The folder that images are downloaded into; node processes share it. Files are named by the checksum of their content
 * and never change, so that a disk laid over one stays whole when its URL has something new.
 *
 * ```
 * blobs/SHA256        a downloaded file, read-only, complete since the moment that it had this name
 * urls/KEY.json       which blob a URL had, and the version that the server named (KEY is a hash of the URL)
 * parts/KEY           a download under way, with KEY.json beside it
 * sums/KEY.json       the checksum of a local file, and the stamp that it had then
 * uses/KEY.json       a container's disk and the file that it lies over (KEY is a hash of the disk's path)
 * locks/              held while the above is changed
 * ```
 */

import { createHash, randomUUID } from "node:crypto";
import {
  mkdir,
  readdir,
  readFile,
  rename,
  stat,
  unlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { exists } from "../guest/publish-folder.ts";
import { type FileLock, lockFile, tryLockPath } from "./file-lock.ts";
import { removePart } from "./part-file.ts";

const FOLDERS = ["blobs", "urls", "parts", "sums", "uses", "locks"] as const;
/** What was used a moment ago is kept: between a fetch and the disk over it, nothing else shows that it is needed. */
const FRESH_MS = 10 * 60_000;
/** A part that nobody went on with for a week is dropped. */
const PART_KEPT_MS = 7 * 24 * 3_600_000;
const BLOB_NAME = /^[0-9a-f]{64}$/;

const UrlRecordSchema = z.object({
  /** For people: without its query. */
  url: z.string(),
  sha256: z.string().regex(BLOB_NAME),
  etag: z.string().optional(),
  lastModified: z.string().optional(),
});
const SumSchema = z.object({ stamp: z.string(), sha256: z.string().regex(BLOB_NAME) });
const UseSchema = z.object({ disk: z.string(), base: z.string() });

/** What a URL had when it was last asked. */
export type UrlRecord = z.output<typeof UrlRecordSchema>;
/** A container's disk and what it lies over. */
export type DiskUse = z.output<typeof UseSchema>;

/** A downloaded file. */
export interface CachedImage {
  readonly sha256: string;
  readonly path: string;
  readonly sizeBytes: number;
  /** Epoch milliseconds */
  readonly lastUsedMs: number;
  /** Disks of containers that lie over it. */
  readonly disks: readonly string[];
  /** Where it came from, without queries. */
  readonly urls: readonly string[];
}

/** What {@link ImageCache.prune} did. */
export interface PruneResult {
  readonly removed: readonly CachedImage[];
  /** What is left, parts not counted. */
  readonly sizeBytes: number;
}

/** Reads and writes the folder; each method says which lock it needs or takes. */
export class ImageCache {
  readonly #root: string;
  readonly #now: () => number;

  private constructor(root: string, now: () => number) {
    this.#root = root;
    this.#now = now;
  }

  static async open(root: string, now: () => number): Promise<ImageCache> {
    for (const folder of FOLDERS) await mkdir(join(root, folder), { recursive: true, mode: 0o755 });
    return new ImageCache(root, now);
  }

  get folder(): string {
    return this.#root;
  }

  blobPath(sha256: string): string {
    return join(this.#root, "blobs", sha256);
  }

  partPath(url: string): string {
    return join(this.#root, "parts", keyOf(url));
  }

  /** True if `path` is one of the cache's own files. */
  isBlob(path: string): boolean {
    return path.startsWith(join(this.#root, "blobs/"));
  }

  /** One holder per URL: it alone downloads. */
  async lockUrl(url: string, signal: AbortSignal, onWait: () => Promise<void>): Promise<FileLock> {
    return await lockFile(join(this.#root, "locks", keyOf(url)), signal, onWait);
  }

  /** The blob if it is there; marks it as used now, so that it is not pruned at once. */
  async findBlob(sha256: string): Promise<string | undefined> {
    const path = this.blobPath(sha256);
    const stats = await stat(path).catch(() => undefined);
    if (stats === undefined) return undefined;
    const marked = utimes(path, this.#now() / 1000, stats.mtimeMs / 1000);
    return await marked.then(
      () => path,
      () => undefined, // pruned just now
    );
  }

  async readUrl(url: string): Promise<UrlRecord | undefined> {
    return await readJson(UrlRecordSchema, this.#record("urls", url));
  }

  async writeUrl(url: string, record: UrlRecord): Promise<void> {
    await this.#writeJson(this.#record("urls", url), record);
  }

  async readSum(path: string): Promise<z.output<typeof SumSchema> | undefined> {
    return await readJson(SumSchema, this.#record("sums", path));
  }

  async writeSum(path: string, sum: z.output<typeof SumSchema>): Promise<void> {
    await this.#writeJson(this.#record("sums", path), sum);
  }

  /** Notes that a disk is about to lie over its base; false if the base is gone. */
  async writeUse(use: DiskUse, signal: AbortSignal): Promise<boolean> {
    await using _lock = await this.#lockAll(signal);
    if (!(await exists(use.base))) return false;
    await this.#writeJson(this.#record("uses", use.disk), use);
    return true;
  }

  async removeUse(disk: string): Promise<void> {
    await unlink(this.#record("uses", disk)).catch(ignoreMissing);
  }

  /** All downloaded files, the one that was used longest ago first. */
  async list(): Promise<CachedImage[]> {
    const uses = await this.#readAll(UseSchema, "uses");
    const records = await this.#readAll(UrlRecordSchema, "urls");
    const images: CachedImage[] = [];
    for (const sha256 of await readdir(join(this.#root, "blobs"))) {
      const path = this.blobPath(sha256);
      const stats = BLOB_NAME.test(sha256) ? await stat(path).catch(() => undefined) : undefined;
      if (stats === undefined) continue;
      images.push({
        sha256,
        path,
        sizeBytes: stats.size,
        lastUsedMs: stats.atimeMs,
        disks: uses.filter(({ value }) => value.base === path).map(({ value }) => value.disk),
        urls: records.filter(({ value }) => value.sha256 === sha256).map(({ value }) => value.url),
      });
    }
    return images.sort((a, b) => a.lastUsedMs - b.lastUsedMs);
  }

  /** Removes files that no disk lies over, longest unused first, until all together have at most `bytesMax`. */
  async prune(bytesMax: number, signal: AbortSignal): Promise<PruneResult> {
    await using _lock = await this.#lockAll(signal);
    await this.#dropOldUses();
    await this.#dropOldParts();
    const images = await this.list();
    const removed: CachedImage[] = [];
    let sizeBytes = images.reduce((sum, image) => sum + image.sizeBytes, 0);
    for (const image of images) {
      if (sizeBytes <= bytesMax) break;
      if (image.disks.length > 0 || this.#now() - image.lastUsedMs < FRESH_MS) continue;
      await unlink(image.path).catch(ignoreMissing);
      removed.push(image);
      sizeBytes -= image.sizeBytes;
    }
    for (const { path, value } of await this.#readAll(UrlRecordSchema, "urls")) {
      if (!(await exists(this.blobPath(value.sha256)))) await unlink(path).catch(ignoreMissing);
    }
    return { removed, sizeBytes };
  }

  #record(folder: (typeof FOLDERS)[number], subject: string): string {
    return join(this.#root, folder, `${keyOf(subject)}.json`);
  }

  /** Two may write the same record at once: each has a file of its own until it is renamed. */
  async #writeJson(path: string, value: unknown): Promise<void> {
    const aside = join(this.#root, "parts", `${randomUUID()}.new`);
    await writeFile(aside, JSON.stringify(value), { mode: 0o644 });
    await rename(aside, path);
  }

  async #lockAll(signal: AbortSignal): Promise<FileLock> {
    return await lockFile(join(this.#root, "locks", "cache"), signal);
  }

  /** A use whose disk does not exist: its container is gone, or it died before the disk was made. */
  async #dropOldUses(): Promise<void> {
    for (const { path, value } of await this.#readAll(UseSchema, "uses")) {
      if (await exists(value.disk)) continue;
      const stats = await stat(path).catch(() => undefined);
      if (stats === undefined || this.#now() - stats.mtimeMs < FRESH_MS) continue;
      await unlink(path).catch(ignoreMissing);
    }
  }

  async #dropOldParts(): Promise<void> {
    for (const name of await readdir(join(this.#root, "parts"))) {
      const path = join(this.#root, "parts", name);
      const stats = await stat(path).catch(() => undefined);
      if (stats === undefined || this.#now() - stats.mtimeMs < PART_KEPT_MS) continue;
      if (name.endsWith(".new")) await unlink(path).catch(ignoreMissing);
      if (name.includes(".")) continue;
      await using lock = await tryLockPath(join(this.#root, "locks", name));
      if (lock !== undefined) await removePart(path);
    }
  }

  async #readAll<T>(
    schema: z.ZodType<T>,
    folder: (typeof FOLDERS)[number],
  ): Promise<{ path: string; value: T }[]> {
    const found: { path: string; value: T }[] = [];
    for (const name of await readdir(join(this.#root, folder))) {
      const path = join(this.#root, folder, name);
      const value = name.endsWith(".json") ? await readJson(schema, path) : undefined;
      if (value !== undefined) found.push({ path, value });
    }
    return found;
  }
}

function keyOf(subject: string): string {
  return createHash("sha256").update(subject).digest("hex").slice(0, 32);
}

/** The record, or undefined if there is none or it is not of this version: then it is made anew. */
async function readJson<T>(schema: z.ZodType<T>, path: string): Promise<T | undefined> {
  const text = await readFile(path, "utf8").catch(() => "");
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function ignoreMissing(error: unknown): void {
  if (error instanceof Error && "code" in error && error.code === "ENOENT") return;
  throw error;
}
