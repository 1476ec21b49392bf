/** Playbooks that are on, as documents of the store: the control process writes them, nodes follow them. */
import { z } from "zod";
import { asDocument, type FaultRecord, keys } from "../../model/documents.ts";
import { FabricError } from "../../model/errors.ts";
import type { Playbook } from "../../model/playbook.ts";
import { deleteKeys, type FabricStore } from "../../store/index.ts";

export const FaultViewSchema = z.object({
  container: z.string(),
  playbook: z.string(),
  /** ISO 8601. */
  since: z.string(),
});

/** A playbook that is on. */
export type FaultView = z.infer<typeof FaultViewSchema>;

/** A goal changes now and then; ten times in a row while we look, it does not. */
const SET_TRIES_MAX = 10;

const PlaybookViewSchema = z.object({
  name: z.string(),
  story: z.string(),
  clients: z.string(),
});

export const FaultsSchema = z.object({
  /** What is on. */
  on: z.array(FaultViewSchema),
  /** What is shipped. */
  playbooks: z.array(PlaybookViewSchema),
});

/** What `fault list` shows. */
export type FaultsView = z.infer<typeof FaultsSchema>;

/** What the routes need. Promises resolve when what was asked for is durable; nodes have it a moment later. */
export interface FaultControl {
  /** @throws FabricError ERR_USAGE_CONTAINER_UNKNOWN */
  set(container: string, playbook: Playbook): Promise<FaultView>;
  /** False: there was none. */
  clear(container: string): Promise<boolean>;
  list(): Promise<FaultView[]>;
}

/**
 * Makes the control over a store.
 *
 * @param now - epoch milliseconds
 */
export function createFaultControl(store: FabricStore, now: () => number): FaultControl {
  return {
    set: async (container, playbook) => {
      const value: FaultRecord = { playbook, setMs: now() };
      for (let tries = 0; tries < SET_TRIES_MAX; tries += 1) {
        const { kv } = await store.get(keys.containerGoal(container));
        if (kv === undefined) break;
        // Compared, for a container that goes at this moment takes its fault along.
        const { ok } = await store.txn({
          compare: [{ key: kv.key, modRev: kv.modRev }],
          success: [{ kind: "put", key: keys.fault(container), value }],
        });
        if (ok) return viewOf(container, value);
      }
      const message = `There is no container ${container}; goalstate ps lists them`;
      throw new FabricError("ERR_USAGE_CONTAINER_UNKNOWN", message);
    },
    clear: async (container) => {
      const key = keys.fault(container);
      const { kv } = await store.get(key);
      await deleteKeys(store, [key]);
      return kv !== undefined;
    },
    list: async () => {
      const { kvs } = await store.list(keys.faults);
      return kvs.map(({ key, value }) =>
        viewOf(key.slice(keys.faults.length), asDocument<FaultRecord>(value)),
      );
    },
  };
}

/** A sentence for those who wonder why a container is answered wrong; undefined if nothing is on. */
export async function faultSentence(
  store: FabricStore,
  container: string,
): Promise<string | undefined> {
  const { kv } = await store.get(keys.fault(container));
  if (kv === undefined) return undefined;
  const { playbook } = asDocument<FaultRecord>(kv.value);
  return `Fault ${playbook.name} is on: its answers are made wrong on purpose; goalstate fault clear ${container} ends it.`;
}

function viewOf(container: string, { playbook, setMs }: FaultRecord): FaultView {
  return { container, playbook: playbook.name, since: new Date(setMs).toISOString() };
}
