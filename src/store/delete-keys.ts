/** Deletes many keys, in as many transactions as the store's limit takes. */
import { type FabricStore, TXN_OPS_MAX } from "./fabric-store.ts";

/** Deletes `keys`; one that does not exist is passed over. Not atomic beyond {@link TXN_OPS_MAX} keys. */
export async function deleteKeys(store: FabricStore, keys: readonly string[]): Promise<void> {
  for (let start = 0; start < keys.length; start += TXN_OPS_MAX) {
    const page = keys.slice(start, start + TXN_OPS_MAX);
    await store.txn({ success: page.map((key) => ({ kind: "delete", key })) });
  }
}
