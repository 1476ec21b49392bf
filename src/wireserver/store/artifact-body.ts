/** Sends the bytes of a file in pieces, the whole of it or a range. */

import { Readable } from "node:stream";
import type { FastifyReply, FastifyRequest } from "fastify";
import { refuse } from "../refusal.ts";
import type { WireArtifacts } from "../wire-host.ts";

/** What one guest that reads slowly makes the host hold. */
const PIECE_BYTES = 64 * 1024;

/** A file, by its content. */
interface Artifact {
  readonly sha256: string;
  readonly bytes: number;
}

/**
 * Answers with an artifact. A range that is not one range of it is not honoured: the answer is then the whole.
 *
 * @throws FabricError ERR_WIRE_ARTIFACT_UNREADABLE, before anything is sent
 */
export async function sendArtifact(
  artifacts: WireArtifacts | undefined,
  artifact: Artifact,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const range = rangeOf(request.headers.range, artifact.bytes);
  const { first, last } = range ?? { first: 0, last: artifact.bytes - 1 };
  reply
    .code(range === undefined ? 200 : 206)
    .type("application/zip")
    .header("accept-ranges", "bytes")
    .header("content-length", String(last + 1 - first));
  if (range !== undefined)
    reply.header("content-range", `bytes ${first}-${last}/${artifact.bytes}`);
  if (request.method === "HEAD" || artifact.bytes === 0) return reply.send();
  const read = (offset: number) => readPiece(artifacts, artifact, offset, last);
  // The first piece is awaited, so that a file that is not there is a status and not a broken answer.
  const piece = await read(first);
  return reply.send(Readable.from(piecesFrom(piece, first, last, read), { objectMode: false }));
}

async function* piecesFrom(
  first: Uint8Array,
  offset: number,
  last: number,
  read: (offset: number) => Promise<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let next = offset + first.length;
  yield first;
  while (next <= last) {
    const piece = await read(next);
    next += piece.length;
    yield piece;
  }
}

async function readPiece(
  artifacts: WireArtifacts | undefined,
  { sha256 }: Artifact,
  offset: number,
  last: number,
): Promise<Uint8Array> {
  const length = Math.min(PIECE_BYTES, last + 1 - offset);
  try {
    const piece = await artifacts?.read(sha256, offset, length);
    if (piece !== undefined && piece.length > 0) return piece.subarray(0, length);
  } catch (cause) {
    throw unreadable(sha256, cause);
  }
  throw unreadable(sha256);
}

function unreadable(sha256: string, cause?: unknown): Error {
  return refuse("ERR_WIRE_ARTIFACT_UNREADABLE", `the artifact ${sha256} cannot be read now`, cause);
}

/** @see RFC 9110 section 14.1.2 */
function rangeOf(
  header: string | undefined,
  bytes: number,
): { readonly first: number; readonly last: number } | undefined {
  const [, from, to] = /^bytes=(\d{0,12})-(\d{0,12})$/.exec(header ?? "") ?? [];
  if (from === undefined || to === undefined || (from === "" && to === "")) return undefined;
  const first = from === "" ? Math.max(0, bytes - Number(to)) : Number(from);
  const last = from === "" || to === "" ? bytes - 1 : Math.min(Number(to), bytes - 1);
  return first <= last ? { first, last } : undefined;
}
