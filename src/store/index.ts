export {
  type CompactionOptions,
  compactionTarget,
  KEEP_REVISIONS,
  startCompaction,
} from "./compaction.ts";
export { deleteKeys } from "./delete-keys.ts";
export {
  type DocumentKey,
  type DocumentSchema,
  findDocument,
  listDocuments,
  readDocument,
  type StoredDocument,
} from "./document.ts";
export {
  type Compare,
  type FabricStore,
  type GetResult,
  KEY_BYTES_MAX,
  type KeyValue,
  LEASE_TTL_MAX_MS,
  LEASE_TTL_MIN_MS,
  type Lease,
  type LeaseOptions,
  type ListOptions,
  type ListResult,
  type Operation,
  type OperationResult,
  type StoreEvent,
  type StoreStatus,
  type Transaction,
  type TransactionResult,
  TXN_BYTES_MAX,
  TXN_OPS_MAX,
  type WatchItem,
} from "./fabric-store.ts";
export { type DocumentHandler, type Follower, follow } from "./follow.ts";
export type { LocalLease, LocalStore } from "./local-store.ts";
export { openMemoryStore } from "./memory-store.ts";
export { openRemoteStore, type RemoteStoreOptions } from "./remote/remote-store.ts";
export { type ServeStoreOptions, type StoreServer, serveStore } from "./remote/serve-store.ts";
export type { StoreSocketPath } from "./remote/socket-path.ts";
export { openSqliteStore } from "./sqlite-store.ts";
export { UPDATE_ATTEMPTS_MAX, type UpdateOutcome, updateDocument } from "./update.ts";
