/** What guests reach over HTTP: wire server, host plugin and metadata, on the platform's addresses. */
import type { FastifyInstance } from "fastify";
import type { Logger } from "pino";
import { type Ipv4Address, METADATA_ADDRESS, WIRE_SERVER_ADDRESS } from "../model/ipv4-address.ts";
import { inNamespace } from "../net/namespace.ts";
import { openListener } from "../net/sockets.ts";
import {
  createHostPlugin,
  createMetadataService,
  createWireServer,
  HOST_PLUGIN_PORT,
  type WireAttester,
  type WireDirectory,
  type WireObserver,
  type WireRecorder,
  type WireVault,
} from "../wireserver/index.ts";

const HTTP_PORT = 80;

export interface HttpServicesOptions {
  /** Named network namespace; absent for this process's own. */
  readonly namespace?: string;
  /** True: the platform's addresses may come later, with the interfaces. Default false. */
  readonly mayPrecedeAddresses?: boolean;
  readonly directory: WireDirectory;
  readonly observer: WireObserver;
  readonly vault: WireVault;
  readonly attester: WireAttester;
  readonly recorder: WireRecorder;
  readonly log: Logger;
}

/**
 * Starts to listen, once for all interfaces of the namespace. Disposing closes every connection.
 *
 * @throws FabricError ERR_NET_ADDRESS_IN_USE, ERR_NET_SYSTEM_CALL
 */
export async function startHttpServices(options: HttpServicesOptions): Promise<AsyncDisposable> {
  const { directory, observer, vault, attester, recorder, log } = options;
  await using opened = new AsyncDisposableStack();
  const common = { directory, observer, vault, recorder, logger: log };
  const wire = createWireServer({ ...common, endpoint: WIRE_SERVER_ADDRESS });
  await listen(options, opened, wire, WIRE_SERVER_ADDRESS, HTTP_PORT);
  const hostPlugin = createHostPlugin(common);
  await listen(options, opened, hostPlugin, WIRE_SERVER_ADDRESS, HOST_PLUGIN_PORT);
  const metadata = createMetadataService({ ...common, attester, now: () => performance.now() });
  await listen(options, opened, metadata, METADATA_ADDRESS, HTTP_PORT);
  return opened.move();
}

async function listen(
  { namespace, mayPrecedeAddresses }: HttpServicesOptions,
  opened: AsyncDisposableStack,
  service: FastifyInstance,
  address: Ipv4Address,
  port: number,
): Promise<void> {
  await service.ready();
  opened.defer(() => service.close());
  const isPresent = mayPrecedeAddresses !== true;
  const fd = inNamespace(namespace, () => openListener(address, port, isPresent));
  await new Promise<void>((resolve, reject) => {
    service.server.once("error", reject);
    service.server.listen({ fd }, resolve);
  });
  // fastify closes only servers that it started itself.
  opened.defer(() => {
    service.server.closeAllConnections();
    return new Promise<void>((resolve) => service.server.close(() => resolve()));
  });
}
