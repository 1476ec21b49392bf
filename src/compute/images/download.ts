/**
 * Downloads one file into a part file: goes on after a cut connection where the server allows it, tries again with
 * growing pauses, and says why it gave up.
 */

import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { errorText, FabricError } from "../../model/errors.ts";
import { displayUrl } from "../../model/image.ts";
import { ConnectionFailure, type HttpAnswer, httpGet } from "./http-get.ts";
import type { PartFile, RemoteFile, Validators } from "./part-file.ts";

const FRUITLESS_TRIES_MAX = 6;
const TRIES_MAX = 100;
const RETRY_MS_MAX = 30_000;
/** Beyond this a server's Retry-After is not believed. */
const RETRY_AFTER_MS_MAX = 60_000;
/** The largest file, 256 GiB. */
const FILE_BYTES_MAX = 2 ** 38;
/** What a download leaves free on the disk. */
const FREE_BYTES_KEPT = 256 * 1024 * 1024;
/** The room on the disk is looked at each time that this much was written. */
const ROOM_CHECK_BYTES = 64 * 1024 * 1024;
const PROGRESS_BYTES = 1024 * 1024;
const RETRY_STATUSES: readonly number[] = [408, 425, 429, 500, 502, 503, 504];
const CONTENT_RANGE = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/;

/** How patient a download is, in milliseconds. */
export interface DownloadTiming {
  /** A server that is silent for so long is left. */
  readonly stallMs: number;
  /** The first pause before another try; each further one is twice as long. */
  readonly retryMs: number;
}

/** What to download, and where to. */
export interface DownloadOptions {
  readonly url: string;
  readonly part: PartFile;
  readonly folder: string;
  /** A checksum will judge the whole, so a part may be gone on with that the server does not vouch for. */
  readonly isVerified: boolean;
  /** The version that we have already, if any. */
  readonly known?: Validators | undefined;
  readonly timing: DownloadTiming;
  /** Tries in a row that bring not one byte more. */
  readonly fruitlessTriesMax?: number | undefined;
  readonly signal: AbortSignal;
  readonly onProgress: (bytes: number, totalBytes: number | undefined) => void;
}

/** `unchanged`: the known version is still what the server has, and the part was not touched. */
export type DownloadResult = "whole" | "unchanged";

/** How one try ended. */
type Try =
  | { readonly kind: DownloadResult }
  | { readonly kind: "again"; readonly reason: string; readonly afterMs?: number };

/**
 * Fills the part.
 *
 * @throws FabricError ERR_IMAGE_DOWNLOAD with the last reason, ERR_IMAGE_SPACE; the signal's reason. What was downloaded
 *   stays for the next time.
 */
export async function download(options: DownloadOptions): Promise<DownloadResult> {
  const { part, timing, signal, fruitlessTriesMax = FRUITLESS_TRIES_MAX } = options;
  let mostBytes = part.sizeBytes;
  let fruitless = 0;
  let reason = "";
  for (let tries = 0; tries < TRIES_MAX && fruitless < fruitlessTriesMax; tries += 1) {
    const outcome = await tryOnce(options);
    if (outcome.kind !== "again") return outcome.kind;
    fruitless = part.sizeBytes > mostBytes ? 0 : fruitless + 1;
    mostBytes = Math.max(mostBytes, part.sizeBytes);
    reason = outcome.reason;
    const growingMs = Math.min(timing.retryMs * 2 ** Math.max(0, fruitless - 1), RETRY_MS_MAX);
    if (fruitless < fruitlessTriesMax) {
      await delay(outcome.afterMs ?? growingMs, undefined, { signal });
    }
  }
  throw gaveUp(options.url, `${reason}; gave up after several tries`);
}

async function tryOnce(options: DownloadOptions): Promise<Try> {
  const { url, part, signal, timing } = options;
  if (part.isWhole) return { kind: "whole" };
  try {
    using answer = await httpGet(url, {
      headers: requestHeaders(options),
      stallMs: timing.stallMs,
      signal,
    });
    return await takeAnswer(answer, options);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ConnectionFailure) return { kind: "again", reason: errorText(error) };
    if (isNoSpace(error)) throw noSpace(options.folder, "the disk is full");
    throw error;
  }
}

/** Asks for the rest of a part where that is safe, else whether the known version is still the newest. */
function requestHeaders(options: DownloadOptions): Record<string, string> {
  const { part, known, isVerified } = options;
  const base = { "user-agent": "goalstate", "accept-encoding": "identity" };
  if (part.sizeBytes > 0) {
    const condition = rangeCondition(part.remote);
    if (condition === undefined && !isVerified) return base;
    const ifRange = condition === undefined ? {} : { "if-range": condition };
    return { ...base, range: `bytes=${part.sizeBytes}-`, ...ifRange };
  }
  if (known?.etag !== undefined) return { ...base, "if-none-match": known.etag };
  if (known?.lastModified !== undefined)
    return { ...base, "if-modified-since": known.lastModified };
  return base;
}

/** RFC 9110 section 13.1.5: a weak entity tag does not do. */
function rangeCondition({ etag, lastModified }: Validators): string | undefined {
  return etag !== undefined && !etag.startsWith("W/") ? etag : lastModified;
}

async function takeAnswer(answer: HttpAnswer, options: DownloadOptions): Promise<Try> {
  const { part, url } = options;
  const { status, headers } = answer;
  if (status === 304 && part.sizeBytes === 0 && options.known !== undefined) {
    return { kind: "unchanged" };
  }
  if (status === 206 && isContinuation(answer, part)) return await readInto(answer, options);
  if (status === 206 || status === 416) {
    await part.begin({});
    return { kind: "again", reason: `HTTP ${status} to a request for the rest`, afterMs: 0 };
  }
  if (status === 200) {
    const encoding = headers.get("content-encoding") ?? "identity";
    if (encoding !== "identity") throw gaveUp(url, `the server sends it as ${encoding}`);
    await part.begin(remoteFile(headers));
    return await readInto(answer, options);
  }
  if (!RETRY_STATUSES.includes(status)) throw gaveUp(url, `HTTP ${status}`);
  const afterMs = retryAfterMs(headers);
  return { kind: "again", reason: `HTTP ${status}`, ...(afterMs !== undefined && { afterMs }) };
}

/** A server may ignore If-Range, or give another range than asked: then the part would be of two files. */
function isContinuation({ headers }: HttpAnswer, part: PartFile): boolean {
  const [, start, , total] = CONTENT_RANGE.exec(headers.get("content-range") ?? "") ?? [];
  const { etag, totalBytes } = part.remote;
  const newEtag = headers.get("etag") ?? undefined;
  const isSame = etag === undefined || newEtag === undefined || etag === newEtag;
  const isLong = total === "*" || totalBytes === undefined || Number(total) === totalBytes;
  return part.sizeBytes > 0 && Number(start) === part.sizeBytes && isSame && isLong;
}

function remoteFile(headers: Headers): RemoteFile {
  const length = headers.get("content-length");
  const etag = headers.get("etag");
  const lastModified = headers.get("last-modified");
  return {
    ...(etag !== null && { etag }),
    ...(lastModified !== null && { lastModified }),
    ...(length !== null && /^\d{1,15}$/.test(length) && { totalBytes: Number(length) }),
  };
}

function retryAfterMs(headers: Headers): number | undefined {
  const seconds = /^\d{1,6}$/.exec(headers.get("retry-after") ?? "")?.[0];
  return seconds === undefined ? undefined : Math.min(Number(seconds) * 1000, RETRY_AFTER_MS_MAX);
}

async function readInto(answer: HttpAnswer, options: DownloadOptions): Promise<Try> {
  const { part, url, folder, onProgress } = options;
  const { totalBytes } = part.remote;
  if ((totalBytes ?? 0) > FILE_BYTES_MAX) throw gaveUp(url, "it is larger than 256 GiB");
  let roomCheckedAt = part.sizeBytes;
  await assertRoom(folder, (totalBytes ?? 0) - part.sizeBytes);
  let saidAt = part.sizeBytes;
  onProgress(part.sizeBytes, totalBytes);
  for await (const chunk of answer.body) {
    if (part.sizeBytes + chunk.length > (totalBytes ?? FILE_BYTES_MAX)) {
      await part.begin({});
      return { kind: "again", reason: "the server sends more than it announced" };
    }
    await part.append(chunk);
    if (part.sizeBytes - roomCheckedAt >= ROOM_CHECK_BYTES) {
      roomCheckedAt = part.sizeBytes;
      await assertRoom(folder, (totalBytes ?? 0) - part.sizeBytes);
    }
    if (part.sizeBytes - saidAt < PROGRESS_BYTES) continue;
    saidAt = part.sizeBytes;
    onProgress(part.sizeBytes, totalBytes);
  }
  onProgress(part.sizeBytes, totalBytes);
  if (totalBytes === undefined || part.isWhole) return { kind: "whole" };
  const reason = `the connection ended after ${part.sizeBytes} of ${totalBytes} bytes`;
  return { kind: "again", reason };
}

async function assertRoom(folder: string, neededBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const freeBytes = bavail * bsize;
  if (freeBytes >= Math.max(0, neededBytes) + FREE_BYTES_KEPT) return;
  const [needed, free] = [neededBytes, freeBytes].map((bytes) => Math.ceil(bytes / 2 ** 20));
  throw noSpace(folder, `${needed} MiB are still to come, ${free} MiB are free, and 256 stay free`);
}

function noSpace(folder: string, reason: string): FabricError {
  return new FabricError(
    "ERR_IMAGE_SPACE",
    `Cannot download into ${dirname(folder)}: ${reason}; make room, or use another cache folder`,
  );
}

function isNoSpace(error: unknown): boolean {
  return (
    error instanceof Error && "code" in error && /^(ENOSPC|EDQUOT|EFBIG)$/.test(String(error.code))
  );
}

function gaveUp(url: string, reason: string): FabricError {
  return new FabricError("ERR_IMAGE_DOWNLOAD", `Cannot download ${displayUrl(url)}: ${reason}`);
}
