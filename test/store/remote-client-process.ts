/**
 * Child process of the tests of remote stores: holds a lease of argv[3] ms with the key argv[4] in the store at the socket
 * argv[2], taking up the lease argv[5] if it is given. Prints `held ID`, and `lost` when the lease is gone.
 */
import { openRemoteStore } from "../../src/store/index.ts";

const [, , path, ttlMs, key, id] = process.argv;
const store = openRemoteStore({
  openPath: () => ({ path: path!, [Symbol.dispose]: () => undefined }),
});
const lease = await store.lease(Number(ttlMs), id === undefined ? {} : { id });
await store.txn({ success: [{ kind: "put", key: key!, value: process.pid, lease: lease.id }] });
process.stdout.write(`held ${lease.id}\n`);
await lease.lost;
process.stdout.write("lost\n");
