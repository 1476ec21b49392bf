/** The faults on demand of a node: what is on, as the store says it. */
import { asDocument, type FaultRecord, keys } from "../../model/documents.ts";
import type { Playbook } from "../../model/playbook.ts";
import { type FabricStore, follow } from "../../store/index.ts";
import { FaultBook } from "../../wireserver/index.ts";

/** See {@link startNodeFaults}. Disposing it ends what it follows. */
export interface NodeFaults extends AsyncDisposable {
  readonly book: FaultBook;
}

/** What {@link startNodeFaults} needs. */
export interface NodeFaultsOptions {
  readonly store: FabricStore;
  readonly onError: (what: string, error: unknown) => void;
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
  /** Called with each playbook that begins, and with undefined for one that ends. */
  readonly onSet?: (container: string, playbook: Playbook | undefined) => void;
}

/** Follows the faults of all containers: those of other nodes are few, and never asked for. */
export function startNodeFaults({ store, onError, now, onSet }: NodeFaultsOptions): NodeFaults {
  const book = new FaultBook(now);
  const stop = new AbortController();
  const onFault = (key: string, value: unknown) => {
    const record = value === undefined ? undefined : asDocument<FaultRecord>(value);
    const container = key.slice(keys.faults.length);
    book.set(container, record?.playbook);
    onSet?.(container, record?.playbook);
  };
  const ended = follow(store, keys.faults, onFault, stop.signal).ended.catch((error: unknown) =>
    onError("faults on demand", error),
  );
  return {
    book,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await ended;
    },
  };
}
