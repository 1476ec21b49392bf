/** The platform's addresses on an interface that is not ours: added if missing, and what was added is taken away. */

import { asDocument } from "../model/documents.ts";
import { formatIpv4, METADATA_ADDRESS, WIRE_SERVER_ADDRESS } from "../model/ipv4-address.ts";
import { ipBatch, listLinks } from "../net/iproute.ts";
import type { FabricStore } from "../store/index.ts";

const ADDRESSES = [WIRE_SERVER_ADDRESS, METADATA_ADDRESS].map(
  (address) => `${formatIpv4(address)}/32`,
);

/** What this process added, written before it was added: a killed one leaves it, and the next start adopts it. */
const keyOf = (interfaceName: string) => `/serve/${interfaceName}/addresses`;

/** Adds the missing addresses; disposing removes those that we, or a killed run before us, added. */
export async function holdPlatformAddresses(
  store: FabricStore,
  interfaceName: string,
): Promise<AsyncDisposable> {
  const key = keyOf(interfaceName);
  const before = (await store.get(key)).kv;
  const adopted = before === undefined ? [] : asDocument<string[]>(before.value);
  const present = await addressesOf(interfaceName);
  const missing = ADDRESSES.filter((address) => !present.includes(address));
  const ours = ADDRESSES.filter(
    (address) => missing.includes(address) || adopted.includes(address),
  );
  await store.txn({ success: [{ kind: "put", key, value: ours }] });
  const undo = () => removeAddresses(store, interfaceName, ours);
  try {
    await ipBatch(
      undefined,
      missing.map((address) => `addr add ${address} dev ${interfaceName}`),
    );
  } catch (error) {
    await undo();
    throw error;
  }
  return { [Symbol.asyncDispose]: undo };
}

async function removeAddresses(
  store: FabricStore,
  interfaceName: string,
  addresses: readonly string[],
): Promise<void> {
  // The interface, or an address, may have been taken away by its owner meanwhile.
  const present = await addressesOf(interfaceName);
  const ours = addresses.filter((address) => present.includes(address));
  await ipBatch(
    undefined,
    ours.map((address) => `addr del ${address} dev ${interfaceName}`),
  );
  await store.txn({ success: [{ kind: "delete", key: keyOf(interfaceName) }] });
}

async function addressesOf(interfaceName: string): Promise<readonly string[]> {
  const links = await listLinks();
  return links.find(({ name }) => name === interfaceName)?.addresses ?? [];
}
