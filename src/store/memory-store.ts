import { EmbeddedStore } from "./embedded-store.ts";
import type { LocalStore } from "./local-store.ts";
import { MemoryEngine } from "./memory-engine.ts";

/** Opens an empty store that lives in this process only. Same contract, nothing durable. */
export function openMemoryStore(): LocalStore {
  return new EmbeddedStore(new MemoryEngine());
}
