/**
 * Read, change, compare, write: the one safe way to change a document that others may change too.
 */
import { isDeepStrictEqual } from "node:util";
import { FabricError } from "../model/errors.ts";
import { type DocumentKey, readDocument } from "./document.ts";
import type { FabricStore, KeyValue } from "./fabric-store.ts";

/**
 * Attempts before {@link updateDocument} gives up. Each key has one writer, so even a second one is
 * rare.
 */
export const UPDATE_ATTEMPTS_MAX = 10;

/**
 * `written`: the key now holds what `change` returned. `unchanged`: `change` returned undefined.
 */
export type UpdateOutcome =
  | { readonly kind: "written"; readonly rev: number }
  | { readonly kind: "unchanged"; readonly rev: number };

type Change<T> = (old: T | undefined) => T | undefined;

/** A write whose outcome is not known: its value, and the version the key would have with it. */
interface Doubt {
  readonly value: unknown;
  readonly version: number;
}

/**
 * Changes one document atomically. `change` gets the present value (undefined if the key does not
 * exist) and returns the new one, or undefined to leave everything as it is. It may be called
 * several times, so it must be a pure function of its argument.
 *
 * If the store cannot say whether a write was applied (`ERR_STORE_UNCERTAIN`), the key is read
 * again: our value one version on means that it was; otherwise the change is tried anew, and the
 * comparison keeps a late arrival of the first write from being applied on top.
 *
 * @param document - a key with its schema, or a bare key for unchecked values
 * @throws FabricError `ERR_STORE_CONFLICT` after {@link UPDATE_ATTEMPTS_MAX} attempts, or as the
 * store
 */
export async function updateDocument<T>(
  store: FabricStore,
  document: DocumentKey<T>,
  change: Change<T>,
): Promise<UpdateOutcome>;
export async function updateDocument(
  store: FabricStore,
  document: string,
  change: Change<unknown>,
): Promise<UpdateOutcome>;
export async function updateDocument<T>(
  store: FabricStore,
  document: DocumentKey<T> | string,
  change: Change<T> & Change<unknown>,
): Promise<UpdateOutcome> {
  if (typeof document !== "string") return updateLoop(store, document, change);
  return updateLoop<unknown>(store, { key: document, schema: UNCHECKED }, change);
}

const UNCHECKED = { parse: (value: unknown): unknown => value };

async function updateLoop<T>(
  store: FabricStore,
  document: DocumentKey<T>,
  change: Change<T>,
): Promise<UpdateOutcome> {
  const { key, schema } = document;
  let doubt: Doubt | undefined;
  for (let attempt = 0; attempt < UPDATE_ATTEMPTS_MAX; attempt++) {
    const { rev, kv } = await store.get(key);
    if (doubt !== undefined && settles(doubt, kv)) return { kind: "written", rev: kv.modRev };
    const value = change(kv === undefined ? undefined : readDocument(kv, schema));
    if (value === undefined) return { kind: "unchanged", rev };
    const outcome = await tryPut(store, key, kv?.modRev ?? 0, value);
    if (outcome.kind === "written") return outcome;
    if (outcome.kind === "uncertain") doubt = { value, version: (kv?.version ?? 0) + 1 };
  }
  throw new FabricError(
    "ERR_STORE_CONFLICT",
    `Cannot change ${key}: somebody else changed it ${UPDATE_ATTEMPTS_MAX} times meanwhile`,
  );
}

/** True if the key holds exactly the write that was in doubt. */
function settles(doubt: Doubt, kv: KeyValue | undefined): kv is KeyValue {
  if (kv === undefined || kv.version !== doubt.version) return false;
  return isDeepStrictEqual(kv.value, JSON.parse(JSON.stringify(doubt.value)));
}

type PutOutcome =
  | { readonly kind: "written"; readonly rev: number }
  | { readonly kind: "conflict" | "uncertain" };

async function tryPut(
  store: FabricStore,
  key: string,
  modRev: number,
  value: unknown,
): Promise<PutOutcome> {
  try {
    const { ok, rev } = await store.txn({
      compare: [{ key, modRev }],
      success: [{ kind: "put", key, value }],
    });
    return ok ? { kind: "written", rev } : { kind: "conflict" };
  } catch (error) {
    if (!(error instanceof FabricError) || error.code !== "ERR_STORE_UNCERTAIN") throw error;
    return { kind: "uncertain" };
  }
}
