/** DNS on the platform's address in a VNET: its guests find each other by name. */

import { asDocument, keys, type NicGoal } from "../../model/documents.ts";
import { WIRE_SERVER_ADDRESS } from "../../model/ipv4-address.ts";
import { ACCEPT_ALL } from "../../net/bpf.ts";
import { openDatagramSocket } from "../../net/datagram-socket.ts";
import { inNamespace } from "../../net/namespace.ts";
import { answerDns, NameZone } from "../../nm/index.ts";
import { type FabricStore, follow } from "../../store/index.ts";

const DNS_PORT = 53;

/** What {@link startDns} needs. */
export interface DnsOptions {
  readonly store: FabricStore;
  readonly vnet: string;
  readonly tenant: string;
  readonly namespace: string;
  readonly onError: (error: unknown) => void;
}

/**
 * Answers the names of a VNET until it is disposed.
 *
 * @throws FabricError ERR_NET_ADDRESS_IN_USE, ERR_NET_SYSTEM_CALL
 */
export async function startDns(options: DnsOptions): Promise<AsyncDisposable> {
  const { store, vnet, tenant, namespace, onError } = options;
  const zone = new NameZone(tenant);
  const stop = new AbortController();
  const socket = await inNamespace(namespace, () =>
    openDatagramSocket(WIRE_SERVER_ADDRESS, DNS_PORT, ACCEPT_ALL),
  );
  const onNic = (key: string, value: unknown) =>
    zone.set(
      key.split("/").at(-1) ?? "",
      value === undefined ? undefined : asDocument<NicGoal>(value),
    );
  const names = follow(store, keys.nics(vnet), onNic, stop.signal).ended.catch(onError);
  const answering = socket
    .receive((bytes, address, port) => {
      const answer = answerDns(bytes, zone);
      if (answer !== undefined) socket.send(answer, address, port);
    }, stop.signal)
    .catch(onError);
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await Promise.all([names, answering]);
      await socket[Symbol.asyncDispose]();
    },
  };
}
