/** Typed access to the JSON documents in a store. */
import { errorText, FabricError } from "../model/errors.ts";
import type { FabricStore, KeyValue } from "./fabric-store.ts";

/** What turns an unknown value into a `T` or throws; every zod schema is one. */
export interface DocumentSchema<T> {
  parse(value: unknown): T;
}

/** One key and the meaning of its value. */
export interface DocumentKey<T> {
  readonly key: string;
  readonly schema: DocumentSchema<T>;
}

/** A document with the revision to compare when writing it back. */
export interface StoredDocument<T> {
  readonly key: string;
  readonly value: T;
  readonly modRev: number;
}

/**
 * The value of `kv` as the schema's type.
 *
 * @throws FabricError `ERR_STORE_BAD_DOCUMENT` naming key and revision, with the schema's error as
 * cause
 */
export function readDocument<T>(kv: KeyValue, schema: DocumentSchema<T>): T {
  try {
    return schema.parse(kv.value);
  } catch (cause) {
    throw new FabricError(
      "ERR_STORE_BAD_DOCUMENT",
      `The document ${kv.key} (revision ${kv.modRev}) has the wrong form: ${errorText(cause)}`,
      { cause },
    );
  }
}

/**
 * The document at `document.key` now, or undefined.
 *
 * @throws FabricError `ERR_STORE_BAD_DOCUMENT`, or as FabricStore.get
 */
export async function findDocument<T>(
  store: FabricStore,
  document: DocumentKey<T>,
): Promise<StoredDocument<T> | undefined> {
  const { kv } = await store.get(document.key);
  if (kv === undefined) return undefined;
  return { key: kv.key, value: readDocument(kv, document.schema), modRev: kv.modRev };
}

/**
 * All documents under `prefix`, and the revision they were read at: watch from `rev` + 1.
 *
 * @throws FabricError `ERR_STORE_BAD_DOCUMENT`, or as FabricStore.list
 */
export async function listDocuments<T>(
  store: FabricStore,
  prefix: string,
  schema: DocumentSchema<T>,
): Promise<{ readonly rev: number; readonly documents: readonly StoredDocument<T>[] }> {
  const { rev, kvs } = await store.list(prefix);
  const documents = kvs.map((kv) => ({
    key: kv.key,
    value: readDocument(kv, schema),
    modRev: kv.modRev,
  }));
  return { rev, documents };
}
