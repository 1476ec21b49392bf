/** One file of an image: a local one is used where it is, one with a URL comes into the cache. */

import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { FabricError } from "../../model/errors.ts";
import { displayUrl, type ImageFile } from "../../model/image.ts";
import { type DownloadTiming, download } from "./download.ts";
import { fileStamp } from "./file-stamp.ts";
import type { ImageCache, UrlRecord } from "./image-cache.ts";
import { openImageFile } from "./inspect-disk.ts";
import { PartFile, readPartState } from "./part-file.ts";
import type { Progress } from "./shared-jobs.ts";

/** A file that changed within this time of a look may change again without a new time stamp. */
const RACY_MS = 1000;
/** Tries to hear from the server if there is a newer version, before the cached one is used. */
const RENEW_TRIES_MAX = 2;
const READ_BYTES = 262_144;

/** Where a file came from. */
export type FileSource = "local" | "cache" | "cache, as the download failed" | "download";

/** A file that is ready to be used, read-only. */
export interface FetchedFile {
  readonly path: string;
  /** What the user wrote, for people: a URL without its query. */
  readonly shown: string;
  readonly source: FileSource;
  /** Of a download always, of a local file if it was asked for. */
  readonly sha256?: string;
}

/** What fetching needs. */
export interface FetchContext {
  readonly cache: ImageCache;
  readonly timing: DownloadTiming;
  readonly now: () => number;
  readonly signal: AbortSignal;
  readonly progress: Progress;
}

/**
 * Makes the file ready.
 *
 * @throws FabricError ERR_IMAGE_FILE, ERR_IMAGE_CHECKSUM, ERR_IMAGE_DOWNLOAD, ERR_IMAGE_SPACE; the signal's reason
 */
export async function fetchFile(file: ImageFile, context: FetchContext): Promise<FetchedFile> {
  if (file.path !== undefined) return await checkLocal(file.path, file.sha256, context);
  if (file.url !== undefined) return await fetchUrl(file.url, file.sha256, context);
  throw new FabricError("ERR_IMAGE_FILE", "Cannot read an image that has neither path nor URL");
}

async function checkLocal(
  path: string,
  expected: string | undefined,
  context: FetchContext,
): Promise<FetchedFile> {
  if (expected === undefined) {
    await (await openImageFile(path, path)).close();
    return { path, shown: path, source: "local" };
  }
  const sha256 = await localSum(path, context);
  if (sha256 !== expected) throw wrongSum(path, { expected, sha256 }, "it was left as it is");
  return { path, shown: path, source: "local", sha256 };
}

/** The checksum of a local file, read only if it was not read before or changed since. */
async function localSum(path: string, context: FetchContext): Promise<string> {
  const { cache, now, signal, progress } = context;
  await using file = await openImageFile(path, path);
  const before = await file.stat({ bigint: true });
  const stamp = fileStamp(before);
  const remembered = await cache.readSum(path);
  if (remembered?.stamp === stamp) return remembered.sha256;
  const hash = createHash("sha256");
  let bytes = 0;
  const stream = file.createReadStream({ autoClose: false, highWaterMark: READ_BYTES, signal });
  for await (const chunk of stream) {
    hash.update(chunk);
    bytes += chunk.length;
    progress(bytes, Number(before.size));
  }
  const sha256 = hash.digest("hex");
  const after = await file.stat({ bigint: true });
  if (fileStamp(after) !== stamp) {
    throw new FabricError(
      "ERR_IMAGE_FILE",
      `Cannot use image ${path}: it changed while it was read`,
    );
  }
  if (now() - Number(after.ctimeMs) > RACY_MS) await cache.writeSum(path, { stamp, sha256 });
  return sha256;
}

async function fetchUrl(
  url: string,
  expected: string | undefined,
  context: FetchContext,
): Promise<FetchedFile> {
  const { cache, signal, progress } = context;
  const shown = displayUrl(url);
  const cached = await findExpected(cache, expected);
  if (cached !== undefined) return { ...cached, shown, source: "cache" };
  const partPath = cache.partPath(url);
  await using _lock = await cache.lockUrl(url, signal, async () => {
    const stats = await stat(partPath).catch(() => undefined); // another process downloads it
    if (stats !== undefined) progress(stats.size, (await readPartState(partPath))?.totalBytes);
  });
  const fetchedMeanwhile = await findExpected(cache, expected);
  if (fetchedMeanwhile !== undefined) return { ...fetchedMeanwhile, shown, source: "cache" };
  return { ...(await renew(url, expected, context)), shown };
}

async function findExpected(
  cache: ImageCache,
  sha256: string | undefined,
): Promise<{ path: string; sha256: string } | undefined> {
  const path = sha256 === undefined ? undefined : await cache.findBlob(sha256);
  return path === undefined || sha256 === undefined ? undefined : { path, sha256 };
}

type Renewed = Omit<FetchedFile, "shown">;

/** With the URL's lock held: asks the server if the cached version is the newest, and downloads where it is not. */
async function renew(
  url: string,
  expected: string | undefined,
  context: FetchContext,
): Promise<Renewed> {
  const { cache } = context;
  const record = await cache.readUrl(url);
  const path = record && (await cache.findBlob(record.sha256));
  if (record === undefined || path === undefined) {
    return await downloadNew(url, expected, context, undefined);
  }
  const isKnown = record.etag !== undefined || record.lastModified !== undefined;
  const cached = { path, sha256: record.sha256 };
  // A server that names no version cannot be asked for changes: the copy is used until it is pruned.
  if (!isKnown && expected === undefined) return { ...cached, source: "cache" };
  try {
    return await downloadNew(url, expected, context, isKnown ? record : undefined);
  } catch (error) {
    const isOptional = expected === undefined && isCode(error, "ERR_IMAGE_DOWNLOAD");
    if (!isOptional) throw error;
    return { ...cached, source: "cache, as the download failed" };
  }
}

async function downloadNew(
  url: string,
  expected: string | undefined,
  context: FetchContext,
  known: UrlRecord | undefined,
): Promise<Renewed> {
  const { cache, timing, signal, progress } = context;
  const isVerified = expected !== undefined;
  await using part = await PartFile.open(cache.partPath(url), isVerified, signal);
  // Bytes of an earlier version may be in what was gone on with. Then it is downloaded once more, from the start.
  for (let resumed = part.sizeBytes > 0; ; resumed = false) {
    const result = await download({
      ...{ url, part, folder: cache.folder, isVerified, known, timing, signal },
      ...(known && !isVerified && { fruitlessTriesMax: RENEW_TRIES_MAX }),
      onProgress: progress,
    });
    const sha256 = result === "unchanged" && known ? known.sha256 : part.sha256();
    if (expected === undefined || sha256 === expected) {
      if (result === "unchanged") {
        await part.remove(); // nothing is in it
        return await fromCache(cache, sha256, url);
      }
      return await publish(url, part, sha256, cache);
    }
    if (!resumed) {
      await part.remove();
      throw wrongSum(displayUrl(url), { expected, sha256 }, "what was downloaded is deleted");
    }
    await part.begin({});
  }
}

async function publish(
  url: string,
  part: PartFile,
  sha256: string,
  cache: ImageCache,
): Promise<Renewed> {
  const { etag, lastModified } = part.remote;
  if ((await cache.findBlob(sha256)) === undefined) await part.publish(cache.blobPath(sha256));
  else await part.remove();
  const version = { ...(etag && { etag }), ...(lastModified && { lastModified }) };
  await cache.writeUrl(url, { url: displayUrl(url), sha256, ...version });
  return { ...(await fromCache(cache, sha256, url)), source: "download" };
}

async function fromCache(cache: ImageCache, sha256: string, url: string): Promise<Renewed> {
  const path = await cache.findBlob(sha256);
  if (path !== undefined) return { path, sha256, source: "cache" };
  const shown = displayUrl(url);
  throw new FabricError("ERR_IMAGE_FILE", `Cannot use ${shown}: it was removed from the cache`);
}

function wrongSum(
  shown: string,
  sums: { readonly expected: string; readonly sha256: string },
  consequence: string,
): FabricError {
  return new FabricError(
    "ERR_IMAGE_CHECKSUM",
    `Cannot use image ${shown}: its SHA-256 is ${sums.sha256}, not ${sums.expected} as declared; ${consequence}. ` +
      `Look which one is right, and mend "sha256" or the file`,
  );
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof FabricError && error.code === code;
}
