/**
 * What a store's client and server say to each other. Both send frames: four octets with the length of what follows (big
 * endian), then a JSON array with every message of one turn of the sender's event loop. The client speaks first, with
 * `hello`. Requests are answered in any order; a watch sends nothing until it is pulled, and then one page.
 */
import { errorText, FabricError } from "../../model/errors.ts";
import type { Transaction, WatchItem } from "../fabric-store.ts";

/** Grows with each change that the other side must know of. */
export const PROTOCOL_VERSION = 1;

/** Longest frame that is read: more than a transaction, a page of a list or of a watch can need. */
export const FRAME_BYTES_MAX = 16 * 1024 * 1024;

/** Calls that are answered once. */
export type Call =
  | { readonly kind: "get"; readonly key: string; readonly rev?: number }
  | {
      readonly kind: "list";
      readonly prefix: string;
      readonly rev?: number;
      readonly after?: string;
      readonly limit?: number;
    }
  | { readonly kind: "txn"; readonly transaction: Transaction }
  | { readonly kind: "lease"; readonly ttlMs: number; readonly lease?: string }
  | { readonly kind: "revoke"; readonly lease: string }
  | { readonly kind: "compact"; readonly upTo: number }
  | { readonly kind: "status" };

/** Calls that change nothing: if no answer comes, nothing was lost. */
export const READS: ReadonlySet<Call["kind"]> = new Set(["get", "list", "status"]);

/** A call, or the beginning of a watch, which is pulled at once. The client chooses ids, each once per connection. */
export type Request =
  | (Call & { readonly id: number })
  | { readonly kind: "watch"; readonly id: number; readonly prefix: string; readonly from: number };

/** What a client sends. `session` is the same in every connection of one client. */
export type ClientMessage =
  | { readonly kind: "hello"; readonly version: number; readonly session: string }
  | Request
  | { readonly kind: "pull" | "unwatch"; readonly id: number }
  | { readonly kind: "ping" };

/** An error on its way. */
export interface SentError {
  /** Absent: an error without a code, so a fault of the program. */
  readonly code?: `ERR_${string}`;
  readonly message: string;
  readonly cause?: string;
}

/** What a server sends. `failure` answers a call or ends a watch; `lost` names a lease that is gone. */
export type ServerMessage =
  | { readonly kind: "welcome"; readonly rev: number }
  | { readonly kind: "refused"; readonly error: SentError }
  | { readonly kind: "answer"; readonly id: number; readonly result: unknown }
  | { readonly kind: "failure"; readonly id: number; readonly error: SentError }
  | { readonly kind: "items"; readonly id: number; readonly items: readonly WatchItem[] }
  | { readonly kind: "lost"; readonly lease: string }
  | { readonly kind: "pong" };

/** Results by kind of call; `get`, `list`, `txn` and `status` are as in the contract. */
export interface LeaseAnswer {
  readonly id: string;
}

/** An error in the form that it travels in. */
export function sentError(thrown: unknown): SentError {
  if (!(thrown instanceof FabricError)) return { message: errorText(thrown) };
  const { code, message, cause } = thrown;
  return cause === undefined ? { code, message } : { code, message, cause: errorText(cause) };
}

/** The error that travelled. */
export function receivedError({ code, message, cause }: SentError): Error {
  const options = cause === undefined ? undefined : { cause: new Error(cause) };
  return code === undefined ? new Error(message, options) : new FabricError(code, message, options);
}

/** The messages of a frame; what is in them is looked at by whoever handles them. @throws SyntaxError */
export function parseFrame(text: string): readonly { readonly kind: string }[] {
  const messages: unknown = JSON.parse(text);
  if (!Array.isArray(messages) || !messages.every(isMessage)) {
    throw new SyntaxError("a frame must be an array of messages");
  }
  return messages;
}

function isMessage(value: unknown): value is { readonly kind: string } {
  return typeof value === "object" && value !== null && "kind" in value;
}
