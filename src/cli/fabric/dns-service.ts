/** DNS on the platform's address in a VNET: its guests find each other by name. */
import { WIRE_SERVER_ADDRESS } from "../../model/ipv4-address.ts";
import { ACCEPT_ALL } from "../../net/bpf.ts";
import { openDatagramSocket } from "../../net/datagram-socket.ts";
import { inNamespace } from "../../net/namespace.ts";
import { answerDns, type NameZone } from "../../nm/index.ts";

const DNS_PORT = 53;

/**
 * Answers the names of a VNET until it is disposed.
 *
 * @throws FabricError ERR_NET_ADDRESS_IN_USE, ERR_NET_SYSTEM_CALL
 */
export async function startDns(options: {
  readonly zone: NameZone;
  readonly namespace: string;
  readonly onError: (error: unknown) => void;
}): Promise<AsyncDisposable> {
  const { zone, namespace, onError } = options;
  const stop = new AbortController();
  const socket = await inNamespace(namespace, () =>
    openDatagramSocket(WIRE_SERVER_ADDRESS, DNS_PORT, ACCEPT_ALL),
  );
  const answering = socket
    .receive((bytes, address, port) => {
      const answer = answerDns(bytes, zone);
      if (answer !== undefined) socket.send(answer, address, port);
    }, stop.signal)
    .catch(onError);
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await answering;
      await socket[Symbol.asyncDispose]();
    },
  };
}
