/** An HTTP server with the faults that servers of images have. */
import { createCipheriv, createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

/** What is at `/image`; a test may change it between requests. */
export interface ServedImage {
  content: Buffer;
  etag?: string;
  lastModified?: string;
  /** False: answers 200 with the whole to every request. */
  ranges: boolean;
  /** Ignores If-Range, as some servers do. */
  ignoresIfRange?: boolean;
  /** Says that the whole has so many bytes. */
  announcedBytes?: number;
  /** No Content-Length. */
  chunked?: boolean;
  /** The next answers: cut after so many bytes of the body, or silent after them, or a status instead. */
  faults: ({ cutAfter: number } | { stallAfter: number } | { status: number; headers?: object })[];
  /** Called with each answer's first bytes on the way. */
  onBody?: () => void;
}

export interface ImageServer {
  readonly url: string;
  readonly origin: string;
  readonly served: ServedImage;
  /** `RANGE -> STATUS` of each request. */
  readonly log: string[];
}

export function sha256(content: Buffer | string): string {
  return createHash("sha256").update(content).digest("hex");
}

export async function startImageServer(image: Partial<ServedImage> = {}): Promise<ImageServer> {
  const served: ServedImage = {
    content: testContent(3_000_000),
    etag: '"v1"',
    ranges: true,
    faults: [],
    ...image,
  };
  const log: string[] = [];
  const server = createServer((request, response) => {
    if (request.url === "/loop") redirect(response, "/loop");
    else if (request.url === "/moved") redirect(response, "/image");
    else if (request.url === "/to-file") redirect(response, "file:///etc/shadow");
    else if (request.url?.startsWith("/image")) answer(request, response, served, log);
    else response.writeHead(404).end("nothing here");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url: `${origin}/image`, origin, served, log };
}

/** Bytes without a pattern that are the same at each run. */
export function testContent(lengthBytes: number, seed = "goalstate"): Buffer {
  const key = createHash("sha256").update(seed).digest().subarray(0, 16);
  return createCipheriv("aes-128-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(lengthBytes));
}

function redirect(response: ServerResponse, location: string): void {
  response.writeHead(302, { location }).end();
}

function answer(
  request: IncomingMessage,
  response: ServerResponse,
  served: ServedImage,
  log: string[],
): void {
  const fault = served.faults.shift();
  const range = request.headers.range;
  const note = (status: number): number => log.push(`${range ?? "whole"} -> ${status}`);
  if (fault !== undefined && "status" in fault) {
    note(fault.status);
    response.writeHead(fault.status, { ...fault.headers }).end();
    return;
  }
  const validators = {
    ...(served.etag !== undefined && { etag: served.etag }),
    ...(served.lastModified !== undefined && { "last-modified": served.lastModified }),
  };
  if (isUnchanged(request, served)) {
    note(304);
    response.writeHead(304, validators).end();
    return;
  }
  const start = rangeStart(request, served);
  if (start !== undefined && start >= served.content.length) {
    note(416);
    response.writeHead(416, { "content-range": `bytes */${served.content.length}` }).end();
    return;
  }
  const body = served.content.subarray(start ?? 0);
  const total = served.content.length;
  note(start === undefined ? 200 : 206);
  response.writeHead(start === undefined ? 200 : 206, {
    ...validators,
    ...(served.chunked !== true && { "content-length": served.announcedBytes ?? body.length }),
    ...(start !== undefined && { "content-range": `bytes ${start}-${total - 1}/${total}` }),
  });
  const cutAfter = fault && "cutAfter" in fault ? fault.cutAfter : undefined;
  const stallAfter = fault && "stallAfter" in fault ? fault.stallAfter : undefined;
  const length = cutAfter ?? stallAfter;
  served.onBody?.();
  if (length === undefined) response.end(body);
  // Cut once the bytes have left, so that the client has them.
  else
    response.write(
      body.subarray(0, length),
      () => cutAfter !== undefined && setTimeout(() => response.destroy(), 20),
    );
}

function isUnchanged({ headers }: IncomingMessage, { etag, lastModified }: ServedImage): boolean {
  const wanted = headers["if-none-match"];
  if (wanted !== undefined) return wanted === etag;
  return lastModified !== undefined && headers["if-modified-since"] === lastModified;
}

function rangeStart({ headers }: IncomingMessage, served: ServedImage): number | undefined {
  const start = /^bytes=(\d+)-$/.exec(headers.range ?? "")?.[1];
  if (start === undefined || !served.ranges) return undefined;
  const condition = headers["if-range"];
  const isSame = condition === served.etag || condition === served.lastModified;
  if (condition !== undefined && !isSame && served.ignoresIfRange !== true) return undefined;
  return Number(start);
}
