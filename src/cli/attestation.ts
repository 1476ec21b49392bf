/** Who signs attested documents: the fabric's own authority, and a certificate that it gave this process. */
import { asDocument, keys } from "../model/documents.ts";
import { FabricError } from "../model/errors.ts";
import type { FabricStore } from "../store/index.ts";
import {
  type CertifiedKey,
  makeAuthority,
  makeCertificate,
  signAttestation,
  type WireAttester,
} from "../wireserver/index.ts";

const AUTHORITY_NAME = "goalstate fabric authority";
/** What readers of the real service's documents look for. */
const SIGNER_NAME = "metadata.azure.com";

/**
 * The fabric's authority: made by whoever is first to need it, and the same for as long as the data folder is there.
 *
 * @param now - epoch milliseconds
 */
export async function openAuthority(store: FabricStore, now: () => number): Promise<CertifiedKey> {
  const known = await store.get(keys.authority);
  if (known.kv !== undefined) return asDocument<CertifiedKey>(known.kv.value);
  const value: CertifiedKey = await makeAuthority(AUTHORITY_NAME, now());
  const { results } = await store.txn({
    compare: [{ key: keys.authority, modRev: 0 }],
    success: [
      { kind: "put", key: keys.authority, value },
      { kind: "get", key: keys.authority },
    ],
    failure: [{ kind: "get", key: keys.authority }],
  });
  const stored = results.at(-1);
  return stored?.kind === "get" && stored.kv !== undefined
    ? asDocument<CertifiedKey>(stored.kv.value)
    : value;
}

/** What {@link createAttester} needs. */
export interface AttesterOptions {
  readonly store: FabricStore;
  /** Epoch milliseconds. */
  readonly now: () => number;
  /** The id by which guests know a container's VM; undefined if there is no such container here. */
  readonly findVmId: (container: string) => string | undefined;
}

/** Makes an attester. Its key is made when it is first needed, off the event loop, and is this process's alone. */
export function createAttester({ store, now, findVmId }: AttesterOptions): WireAttester {
  let material: Promise<readonly [signer: CertifiedKey, issuer: string]> | undefined;
  const make = async (): Promise<readonly [CertifiedKey, string]> => {
    const issuer = await openAuthority(store, now);
    const named = { commonName: SIGNER_NAME, isAuthority: false };
    return [await makeCertificate({ ...named, nowMs: now(), issuer }), issuer.certificate];
  };
  const open = (): Promise<readonly [CertifiedKey, string]> => {
    material ??= make().catch((error: unknown) => {
      material = undefined; // the next one tries again
      throw error;
    });
    return material;
  };
  return {
    attest: async (container, question) => {
      const vmId = findVmId(container);
      if (vmId === undefined) {
        throw new FabricError(
          "ERR_USAGE_CONTAINER_UNKNOWN",
          `${container} is no container of this node`,
        );
      }
      const [signer, issuer] = await open();
      return signAttestation({ ...question, vmId, signer, issuers: [issuer], nowMs: now() });
    },
  };
}
