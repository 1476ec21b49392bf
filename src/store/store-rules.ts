/**
 * What a store accepts, as pure checks: every engine refuses the same things with the same codes.
 */
import { FabricError } from "../model/errors.ts";
import {
  KEY_BYTES_MAX,
  LEASE_TTL_MAX_MS,
  LEASE_TTL_MIN_MS,
  type Operation,
  type Transaction,
  TXN_BYTES_MAX,
  TXN_OPS_MAX,
} from "./fabric-store.ts";

const KEY = /^\/[!-~]*$/;

/** An operation whose value is already JSON text: what was checked is what is stored. */
export type CheckedOperation =
  | {
      readonly kind: "put";
      readonly key: string;
      readonly text: string;
      readonly lease: string | undefined;
    }
  | { readonly kind: "delete" | "get"; readonly key: string };

/** A transaction that passed {@link checkTransaction}. */
export interface CheckedTransaction {
  readonly compare: readonly { readonly key: string; readonly modRev: number }[];
  readonly success: readonly CheckedOperation[];
  readonly failure: readonly CheckedOperation[];
}

/** @throws FabricError `ERR_STORE_BAD_KEY` naming the key */
export function checkKey(key: string): void {
  if (KEY.test(key) && key.length > 1 && key.length <= KEY_BYTES_MAX) return;
  throw new FabricError(
    "ERR_STORE_BAD_KEY",
    `${JSON.stringify(key.slice(0, 80))} is not a store key: it must begin with "/" and have ` +
      `2 to ${KEY_BYTES_MAX} printable ASCII characters, without spaces`,
  );
}

/** @throws FabricError `ERR_STORE_BAD_KEY` naming the prefix */
export function checkPrefix(prefix: string): void {
  if (prefix === "" || prefix === "/") return;
  checkKey(prefix);
}

/**
 * Checks keys, counts and sizes, and turns values into JSON text.
 *
 * @throws FabricError `ERR_STORE_BAD_KEY`, `ERR_STORE_BAD_VALUE` or `ERR_STORE_TOO_LARGE`
 */
export function checkTransaction(transaction: Transaction): CheckedTransaction {
  const compares = transaction.compare ?? [];
  checkCount("compare", compares.length);
  for (const compare of compares) checkKey(compare.key);
  const checked = {
    compare: compares.map(({ key, modRev }) => ({ key, modRev })),
    success: checkBranch("success", transaction.success),
    failure: checkBranch("failure", transaction.failure ?? []),
  };
  checkSize(checked);
  return checked;
}

/** @throws RangeError if a lease could not live that long */
export function checkLeaseTtl(ttlMs: number): void {
  if (Number.isInteger(ttlMs) && ttlMs >= LEASE_TTL_MIN_MS && ttlMs <= LEASE_TTL_MAX_MS) return;
  throw new RangeError(
    `a lease lives ${LEASE_TTL_MIN_MS} to ${LEASE_TTL_MAX_MS} whole milliseconds, not ${ttlMs}`,
  );
}

function checkCount(branch: string, count: number): void {
  if (count <= TXN_OPS_MAX) return;
  throw new FabricError(
    "ERR_STORE_TOO_LARGE",
    `A transaction has ${count} entries in "${branch}"; at most ${TXN_OPS_MAX} are possible: split it`,
  );
}

function checkBranch(branch: string, operations: readonly Operation[]): CheckedOperation[] {
  checkCount(branch, operations.length);
  const written = new Set<string>();
  return operations.map((operation) => {
    checkKey(operation.key);
    if (operation.kind === "get") return { kind: "get", key: operation.key };
    if (written.has(operation.key)) throw writtenTwice(operation.key);
    written.add(operation.key);
    if (operation.kind === "delete") return { kind: "delete", key: operation.key };
    const { key, value, lease } = operation;
    return { kind: "put", key, text: jsonText(key, value), lease };
  });
}

/** One revision holds one state per key, so a second write in it could never be watched. */
function writtenTwice(key: string): FabricError {
  return new FabricError("ERR_STORE_BAD_KEY", `A transaction writes ${key} twice; write it once`);
}

function jsonText(key: string, value: unknown): string {
  const text = tryStringify(key, value);
  if (text !== undefined) return text;
  throw new FabricError("ERR_STORE_BAD_VALUE", `The value for ${key} has no JSON form`);
}

/**
 * JSON.stringify gives undefined for undefined, functions and symbols, which its type does not say.
 */
function tryStringify(key: string, value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch (cause) {
    throw new FabricError("ERR_STORE_BAD_VALUE", `The value for ${key} has no JSON form`, {
      cause,
    });
  }
}

function checkSize(transaction: CheckedTransaction): void {
  let bytes = 0;
  for (const compare of transaction.compare) bytes += compare.key.length;
  for (const operation of [...transaction.success, ...transaction.failure]) {
    bytes += operation.key.length;
    if (operation.kind === "put") bytes += Buffer.byteLength(operation.text);
  }
  if (bytes <= TXN_BYTES_MAX) return;
  throw new FabricError(
    "ERR_STORE_TOO_LARGE",
    `A transaction has ${bytes} bytes of keys and values; at most ${TXN_BYTES_MAX} are possible`,
  );
}
