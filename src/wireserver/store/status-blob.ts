/**
 * The blob that an agent uploads its status to: of the storage protocol just what agents use. A block blob comes in one
 * piece; a page blob is made with its length first, then filled in pages of 512 bytes.
 */

import { refuse } from "../refusal.ts";

/** A status with many extensions has some 100 kB. */
export const STATUS_BLOB_BYTES_MAX = 1024 * 1024;
/** Page blobs that are being filled, of all containers together; then the oldest is forgotten, and is made again. */
const FILLING_BYTES_MAX = 32 * 1024 * 1024;
/** Containers that have a page blob. */
const BLOBS_MAX = 16_384;
const PAGE_BYTES = 512;

/** What is asked of a blob, directly or as told to the host plugin. */
export interface BlobRequest {
  /** Of the URL, lower case; "" or `page`. */
  readonly comp: string;
  /** By a header's name in lower case. */
  header(name: string): string | undefined;
  readonly body: Uint8Array;
}

/** Status blobs by container. A blob's content is handed out once it is whole, and not kept. */
export class StatusBlobs {
  /** Page blobs that were made: their length, and their content while it comes. In order of their last use. */
  readonly #pages = new Map<string, { readonly length: number; filling?: Buffer }>();
  #fillingBytes = 0;

  /**
   * Does what a `PUT` asks.
   *
   * @param container - the container's name
   * @param type - of its blob, as its documents say
   * @returns the content if it is whole now
   * @throws FabricError ERR_WIRE_REQUEST_MALFORMED, ERR_WIRE_BLOB_TYPE, ERR_WIRE_BLOB_RANGE, ERR_WIRE_BLOB_NOT_FOUND,
   *   ERR_WIRE_BODY_TOO_LARGE
   */
  put(
    container: string,
    type: "BlockBlob" | "PageBlob",
    request: BlobRequest,
  ): Uint8Array | undefined {
    if (request.comp === "page") {
      assertType(type, "PageBlob");
      return this.#putPages(container, request);
    }
    if (request.comp !== "") throw malformed(`comp=${request.comp.slice(0, 40)} is not served`);
    assertType(type, blobTypeOf(request));
    if (type === "BlockBlob") return request.body;
    this.#create(container, request);
    return undefined;
  }

  #create(container: string, request: BlobRequest): void {
    const length = integerOf(request, "x-ms-blob-content-length");
    if (length % PAGE_BYTES !== 0) {
      throw malformed(`x-ms-blob-content-length must be a multiple of ${PAGE_BYTES}`);
    }
    if (length > STATUS_BLOB_BYTES_MAX) {
      throw refuse(
        "ERR_WIRE_BODY_TOO_LARGE",
        `a status blob has at most ${STATUS_BLOB_BYTES_MAX} bytes`,
      );
    }
    if (request.body.length > 0) throw malformed("a page blob is made without content");
    this.#forget(container);
    if (this.#pages.size >= BLOBS_MAX) this.#forget(this.#pages.keys().next().value!);
    this.#pages.set(container, { length });
  }

  #putPages(container: string, request: BlobRequest): Uint8Array | undefined {
    const blob = this.#pages.get(container);
    if (blob === undefined) {
      throw refuse("ERR_WIRE_BLOB_NOT_FOUND", "the page blob must be made before it is filled");
    }
    const { first, last } = rangeOf(request, blob.length);
    const isClear = request.header("x-ms-page-write")?.toLowerCase() === "clear";
    if (!isClear && request.body.length !== last + 1 - first) {
      throw refuse("ERR_WIRE_BLOB_RANGE", "the content is not as long as its range");
    }
    const content = this.#fillingOf(container, blob);
    if (isClear) content.fill(0, first, last + 1);
    else content.set(request.body, first);
    if (last + 1 < blob.length) return undefined;
    this.#forget(container);
    this.#pages.set(container, { length: blob.length });
    return content;
  }

  #fillingOf(container: string, blob: { readonly length: number; filling?: Buffer }): Buffer {
    if (blob.filling !== undefined) return blob.filling;
    blob.filling = Buffer.alloc(blob.length);
    this.#fillingBytes += blob.length;
    this.#pages.delete(container);
    this.#pages.set(container, blob);
    for (const oldest of this.#pages.keys()) {
      if (this.#fillingBytes <= FILLING_BYTES_MAX || oldest === container) break;
      this.#forget(oldest);
    }
    return blob.filling;
  }

  #forget(container: string): void {
    this.#fillingBytes -= this.#pages.get(container)?.filling?.length ?? 0;
    this.#pages.delete(container);
  }
}

function blobTypeOf(request: BlobRequest): string {
  const type = request.header("x-ms-blob-type");
  if (type === undefined) throw malformed("the header x-ms-blob-type is missing");
  return type;
}

function assertType(type: string, asked: string): void {
  if (asked.toLowerCase() === type.toLowerCase()) return;
  throw refuse(
    "ERR_WIRE_BLOB_TYPE",
    `the status blob is a ${type}, as statusBlobType says, and not a ${asked.slice(0, 40)}`,
  );
}

function rangeOf(request: BlobRequest, length: number): { first: number; last: number } {
  const text = request.header("x-ms-range") ?? request.header("range") ?? "";
  const [, first, last] = /^bytes=(\d{1,12})-(\d{1,12})$/.exec(text) ?? [];
  const range = { first: Number(first ?? Number.NaN), last: Number(last ?? Number.NaN) };
  const isAligned = range.first % PAGE_BYTES === 0 && (range.last + 1) % PAGE_BYTES === 0;
  if (isAligned && range.first < range.last && range.last < length) return range;
  throw refuse(
    "ERR_WIRE_BLOB_RANGE",
    `x-ms-range must be whole pages of ${PAGE_BYTES} bytes inside the blob's ${length}`,
  );
}

function integerOf(request: BlobRequest, name: string): number {
  const text = request.header(name);
  if (text !== undefined && /^\d{1,12}$/.test(text)) return Number(text);
  throw malformed(`the header ${name} is missing, or no number`);
}

function malformed(message: string): Error {
  return refuse("ERR_WIRE_REQUEST_MALFORMED", message);
}
