/** The certificates of VMs: each in the store, made by the node that first needs it. */
import { asDocument, type ContainerIdentity, keys } from "../../model/documents.ts";
import { FabricError } from "../../model/errors.ts";
import { type FabricStore, UPDATE_ATTEMPTS_MAX } from "../../store/index.ts";
import { makeIdentity, type WireIdentity, type WireVault } from "../../wireserver/index.ts";

/** Nothing of the fabric or its tenants is in it: guests see it. */
export const IDENTITY_NAME = "goalstate VM";
/** RSA keys that are made at once. Node has four threads for this, and files and names need them too. */
const MAKERS_MAX = 2;
/** Some 4 kB each. */
const MEMORY_IDENTITIES_MAX = 8_192;

/** What {@link createIdentityVault} needs. */
export interface IdentityVaultOptions {
  readonly store: FabricStore;
  /** Epoch milliseconds. */
  readonly now: () => number;
  /** Absent: RSA 2048. */
  readonly make?: (commonName: string, nowMs: number) => Promise<WireIdentity>;
}

/**
 * Opens the vault of a node. An identity is written only next to its container's goal, and only if there is none: nodes
 * that need it at the same time end with the same, and nothing stays of a container that goes meanwhile. It is read
 * from the store each time, so that a container of the same name never gets the key of one before it; whoever asks
 * often keeps it while its container lives.
 *
 * {@link WireVault.identityOf} rejects with ERR_USAGE_CONTAINER_UNKNOWN, ERR_STORE_CONFLICT, or as the store.
 */
export function createIdentityVault(options: IdentityVaultOptions): WireVault {
  const asked = new Map<string, Promise<WireIdentity>>();
  const make = limit(MAKERS_MAX, options.make ?? makeIdentity);
  return {
    identityOf: (container) => {
      const underWay = asked.get(container);
      if (underWay !== undefined) return underWay;
      const found = findOrMake({ ...options, make }, container).finally(() => {
        asked.delete(container);
      });
      asked.set(container, found);
      return found;
    },
  };
}

/**
 * Keeps identities in memory: for `serve`, whose hosts have no goals that their certificates could go with. Of too many,
 * the one that was made first is forgotten; a host that asks again then gets another one.
 */
export function createMemoryVault(now: () => number): WireVault {
  const identities = new Map<string, Promise<WireIdentity>>();
  const make = limit(MAKERS_MAX, makeIdentity);
  return {
    identityOf: (container) => {
      const kept = identities.get(container);
      if (kept !== undefined) return kept;
      const made = make(IDENTITY_NAME, now());
      identities.set(container, made);
      for (const first of identities.keys()) {
        if (identities.size <= MEMORY_IDENTITIES_MAX) break;
        identities.delete(first);
      }
      made.catch(() => identities.delete(container));
      return made;
    },
  };
}

async function findOrMake(
  { store, now, make }: Required<IdentityVaultOptions>,
  container: string,
): Promise<WireIdentity> {
  const [key, goalKey] = [keys.containerIdentity(container), keys.containerGoal(container)];
  let made: WireIdentity | undefined;
  for (let attempt = 0; attempt < UPDATE_ATTEMPTS_MAX; attempt++) {
    const [identity, goal] = await Promise.all([store.get(key), store.get(goalKey)]);
    if (identity.kv !== undefined) return asDocument<ContainerIdentity>(identity.kv.value);
    if (goal.kv === undefined) throw unknownContainer(container);
    made ??= await make(IDENTITY_NAME, now());
    if (await isWritten(store, key, made, goal.kv)) return made;
  }
  const message = `Cannot keep the certificate of ${container}: its goal changed ${UPDATE_ATTEMPTS_MAX} times meanwhile`;
  throw new FabricError("ERR_STORE_CONFLICT", message);
}

/** False also if nobody knows: it is read again then, and what is there counts, whoever wrote it. */
async function isWritten(
  store: FabricStore,
  key: string,
  value: WireIdentity,
  goal: { readonly key: string; readonly modRev: number },
): Promise<boolean> {
  try {
    const { ok } = await store.txn({
      compare: [
        { key, modRev: 0 },
        { key: goal.key, modRev: goal.modRev },
      ],
      success: [{ kind: "put", key, value }],
    });
    return ok;
  } catch (error) {
    if (error instanceof FabricError && error.code === "ERR_STORE_UNCERTAIN") return false;
    throw error;
  }
}

function unknownContainer(container: string): FabricError {
  const message = `There is no container ${container}: it has no certificate`;
  return new FabricError("ERR_USAGE_CONTAINER_UNKNOWN", message);
}

/** Runs at most `max` calls at once, the others in the order of asking. */
function limit<A extends unknown[], T>(
  max: number,
  work: (...args: A) => Promise<T>,
): (...args: A) => Promise<T> {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (...args) => {
    if (running < max) running++;
    else await new Promise<void>((resolve) => waiting.push(resolve)); // whoever ends hands its place on
    try {
      return await work(...args);
    } finally {
      const next = waiting.shift();
      if (next === undefined) running--;
      else next();
    }
  };
}
