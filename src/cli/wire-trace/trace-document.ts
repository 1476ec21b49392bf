/** The documents that `goalstate requests` prints: exchanges as JSON, and HAR 1.2. */
import { z } from "zod";
import { WIRE_SERVICES } from "../../model/playbook.ts";

const HeaderSchema = z.strictObject({ name: z.string(), value: z.string() });

const BodySchema = z.strictObject({
  bytes: z.int().nonnegative(),
  /** Absent if it is empty, or was sent as a stream. */
  sha256: z.string().optional(),
  /** Absent if it is secret, binary or long. */
  text: z.string().optional(),
});

/** One exchange, as `--json` prints it a line. */
export const ExchangeSchema = z.strictObject({
  container: z.string(),
  service: z.enum(WIRE_SERVICES),
  /** The caller's address. */
  address: z.string(),
  /** When the request's head was read. */
  time: z.iso.datetime(),
  /** Milliseconds until the answer began, and until it was sent. */
  waitMs: z.number(),
  durationMs: z.number(),
  request: z.strictObject({
    method: z.string(),
    url: z.string(),
    httpVersion: z.string(),
    headers: z.array(HeaderSchema),
    body: BodySchema,
  }),
  /** Absent: the connection ended without an answer. */
  response: z
    .strictObject({
      status: z.int(),
      headers: z.array(HeaderSchema),
      body: BodySchema,
    })
    .optional(),
  /** The playbook that made the answer. */
  fault: z.string().optional(),
  /** Why the caller was refused. */
  refusal: z.string().optional(),
});

/** See {@link ExchangeSchema}. */
export type ExchangeDocument = z.infer<typeof ExchangeSchema>;

const HarTimingsSchema = z.strictObject({
  send: z.number(),
  wait: z.number(),
  receive: z.number(),
});

const HarEntrySchema = z.strictObject({
  startedDateTime: z.iso.datetime(),
  time: z.number(),
  request: z.strictObject({
    method: z.string(),
    url: z.string(),
    httpVersion: z.string(),
    cookies: z.array(z.never()),
    headers: z.array(HeaderSchema),
    queryString: z.array(HeaderSchema),
    postData: z
      .strictObject({
        mimeType: z.string(),
        text: z.string(),
        params: z.array(z.never()),
        comment: z.string().optional(),
      })
      .optional(),
    headersSize: z.int(),
    bodySize: z.int(),
  }),
  response: z.strictObject({
    /** 0: there was none. */
    status: z.int(),
    statusText: z.string(),
    httpVersion: z.string(),
    cookies: z.array(z.never()),
    headers: z.array(HeaderSchema),
    content: z.strictObject({
      size: z.int(),
      mimeType: z.string(),
      text: z.string().optional(),
      comment: z.string().optional(),
    }),
    redirectURL: z.string(),
    headersSize: z.int(),
    bodySize: z.int(),
  }),
  cache: z.strictObject({}),
  timings: HarTimingsSchema,
  serverIPAddress: z.string(),
  comment: z.string().optional(),
});

/** HAR 1.2. */
export const HarSchema = z.strictObject({
  log: z.strictObject({
    version: z.literal("1.2"),
    creator: z.strictObject({ name: z.string(), version: z.string() }),
    entries: z.array(HarEntrySchema),
    comment: z.string().optional(),
  }),
});

export type Har = z.infer<typeof HarSchema>;
export type HarEntry = z.infer<typeof HarEntrySchema>;
