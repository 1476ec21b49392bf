/**
 * The form in which requests and answers are kept: one JSON object a line. A poll that comes each few seconds costs
 * little, for a head (request line or status with headers) and a body are written once in a file and then named by their
 * number. A file is whole by itself.
 */
import { z } from "zod";
import { WIRE_SERVICES } from "../../model/playbook.ts";

/** Longest text of a body that is kept; of a longer one, its length and hash are. */
export const BODY_TEXT_BYTES_MAX = 8_192;

const Id = z.int().nonnegative();
const HeadersSchema = z.array(z.string());

/** A request's line and headers; names and values in turn, as they were sent. */
const RequestHeadLine = z.object({
  t: z.literal("q"),
  id: Id,
  method: z.string(),
  url: z.string(),
  http: z.string(),
  headers: HeadersSchema,
});

/** An answer's status and headers. */
const ResponseHeadLine = z.object({
  t: z.literal("r"),
  id: Id,
  status: z.int(),
  headers: HeadersSchema,
});

const BODY = {
  bytes: z.int().nonnegative(),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  text: z.string().optional(),
};

/** An answer's body. */
const BodyLine = z.object({ t: z.literal("b"), id: Id, ...BODY });

/** One exchange. */
const ExchangeLine = z.object({
  t: z.literal("x"),
  /** Container. */
  c: z.string(),
  /** Epoch milliseconds. */
  at: z.number(),
  /** Service. */
  s: z.enum(WIRE_SERVICES),
  /** The caller's address. */
  a: z.string(),
  /** Request head, response head, response body; absent: there was none. */
  q: Id,
  r: Id.optional(),
  rb: Id.optional(),
  /** Request body: no two are the same, for they say when they were written. */
  qb: z.object(BODY).optional(),
  /** Milliseconds until the answer began, and until it was sent. */
  w: z.number(),
  d: z.number(),
  /** Fault, and reason of a refusal. */
  f: z.string().optional(),
  x: z.string().optional(),
});

/** So many exchanges were dropped here. */
const DroppedLine = z.object({ t: z.literal("d"), n: z.int().positive() });

export const TraceLineSchema = z.discriminatedUnion("t", [
  RequestHeadLine,
  ResponseHeadLine,
  BodyLine,
  ExchangeLine,
  DroppedLine,
]);

/** A line of a file. */
export type TraceLine = z.infer<typeof TraceLineSchema>;
