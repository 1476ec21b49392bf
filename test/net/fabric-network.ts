/** Several nodes with VNETs and guests, in namespaces of their own, for tests. */
import { createSocket } from "node:dgram";
import { createServer, Socket } from "node:net";
import {
  formatIpv4,
  type Ipv4Address,
  parseIpv4,
  parseSubnet,
} from "../../src/model/ipv4-address.ts";
import { formatMac, type MacAddress } from "../../src/model/mac-address.ts";
import { DROP_ALL } from "../../src/net/bpf.ts";
import { setLiveNodes } from "../../src/net/fence.ts";
import { inNamespace } from "../../src/net/namespace.ts";
import {
  connectToUnderlay,
  createNodeNamespace,
  createUnderlay,
  type NodeNamespace,
  type Underlay,
} from "../../src/net/node-network.ts";
import { attachOverlay, type Overlay, setPeers } from "../../src/net/overlay.ts";
import type { OverlayPeer } from "../../src/net/overlay-plan.ts";
import { applyPortFilter, type FilteredPort } from "../../src/net/port-filter.ts";
import { openConnection, openDatagramSocketFd, openListener } from "../../src/net/sockets.ts";
import { createVnetBridge, openPort } from "../../src/net/vnet-bridge.ts";
import { connect, disableIpv6, ip, ipBatch } from "./namespaces.ts";

export const UNDERLAY_SUBNET = parseSubnet("172.31.0.0/16");
const ANSWER_WAIT_MS = 3_000;
let fabrics = 0;

/** A guest: a namespace with one NIC. */
export interface TestGuest {
  readonly name: string;
  readonly namespace: string;
  readonly mac: MacAddress;
  readonly address: Ipv4Address;
  readonly port: string;
}

/** A VNET on one node. */
export interface TestVnet {
  readonly namespace: string;
  readonly node: NodeNamespace;
  readonly overlay: Overlay;
  readonly ports: FilteredPort[];
}

/** Makes an underlay and nodes `n1`, `n2`, ...; disposing removes every namespace whose name begins with its prefix. */
export async function makeTestFabric(nodeCount: number) {
  fabrics += 1;
  const prefix = `gst-ov${process.pid}-${fabrics}-`;
  const stack = new DisposableStack();
  stack.defer(() => removeAll(prefix));
  const underlay = await createUnderlay({ prefix, subnet: UNDERLAY_SUBNET });
  const nodes: NodeNamespace[] = [];
  for (let index = 1; index <= nodeCount; index += 1) {
    const address = parseIpv4(`172.31.0.${index}`);
    nodes.push(await createNodeNamespace({ underlay, node: `n${index}`, address }));
  }
  const live = nodes.map(({ address }) => address);
  for (const { namespace } of nodes) await setLiveNodes(namespace, live);
  return new TestFabric(prefix, underlay, nodes, stack);
}

export class TestFabric implements Disposable {
  readonly prefix: string;
  readonly underlay: Underlay;
  readonly nodes: readonly NodeNamespace[];
  readonly stack: DisposableStack;

  constructor(
    prefix: string,
    underlay: Underlay,
    nodes: readonly NodeNamespace[],
    stack: DisposableStack,
  ) {
    this.prefix = prefix;
    this.underlay = underlay;
    this.nodes = nodes;
    this.stack = stack;
  }

  [Symbol.dispose](): void {
    this.stack.dispose();
  }

  /** The VNET 10.20.0.0/24 on a node. */
  async vnet(node: NodeNamespace, vni: number, label = `v${vni}`): Promise<TestVnet> {
    const namespace = `${node.namespace}-${label}`;
    await createVnetBridge({ namespace, gateway: parseIpv4("10.20.0.1"), prefixLength: 24 });
    const overlay = await attachOverlay({
      nodeNamespace: node.namespace,
      vnetNamespace: namespace,
      vni,
      localAddress: node.address,
    });
    await applyPortFilter(namespace, []);
    return { namespace, node, overlay, ports: [] };
  }

  /** A guest on a VNET, whose port is open and filtered. */
  async guest(vnet: TestVnet, name: string, number: number): Promise<TestGuest> {
    const namespace = `${this.prefix}${name}`;
    ip("netns", "add", namespace);
    ip("-n", namespace, "link", "set", "lo", "up");
    disableIpv6(namespace);
    const guest = {
      name,
      namespace,
      mac: (0x0267_7300_0100 + number) as MacAddress,
      address: (parseIpv4("10.20.0.0") + number) as Ipv4Address,
      port: `tap${number}`,
    };
    await this.plug(vnet, guest);
    return guest;
  }

  /** Connects a guest's NIC to a VNET. */
  async plug(vnet: TestVnet, guest: TestGuest): Promise<void> {
    connect(vnet.namespace, guest.port, guest.namespace, "eth0");
    ipBatch(guest.namespace, [
      `link set dev eth0 address ${formatMac(guest.mac)}`,
      `addr add ${formatIpv4(guest.address)}/24 dev eth0`,
      "route add default via 10.20.0.1",
    ]);
    vnet.ports.push({ name: guest.port, mac: guest.mac, address: guest.address });
    await applyPortFilter(vnet.namespace, vnet.ports);
    await openPort(vnet.namespace, guest.port);
  }

  /** Somebody on the underlay who is no node. */
  async client(address: string): Promise<{ namespace: string; address: Ipv4Address }> {
    const namespace = `${this.prefix}client-${address}`;
    ip("netns", "add", namespace);
    disableIpv6(namespace);
    const client = { namespace, address: parseIpv4(address) };
    const { underlay } = this;
    await connectToUnderlay({ ...client, underlay, interfaceName: "eth0" });
    return client;
  }

  /** Takes a guest's NIC away, as when its VM ends. */
  async unplug(vnet: TestVnet, guest: TestGuest): Promise<void> {
    ip("-n", vnet.namespace, "link", "del", "dev", guest.port);
    vnet.ports.splice(
      vnet.ports.findIndex(({ name }) => name === guest.port),
      1,
    );
    await applyPortFilter(vnet.namespace, vnet.ports);
  }

  /** A TCP server in a guest that says its name and who asked; on another port than 80 again and again. */
  serve(guest: TestGuest, port = 80): void {
    const fd = inNamespace(guest.namespace, () => openListener(guest.address, port, false));
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      const name = `${guest.name} ${socket.remoteAddress}`;
      if (port === 80) socket.end(name);
      else socket.on("data", () => socket.write(name)); // a conversation, as long as the caller likes
    }).listen({ fd });
    this.stack.defer(() => void server.close());
  }
}

/** A UDP server in a guest that answers with its name. */
export async function serveUdp(fabric: TestFabric, guest: TestGuest, port: number): Promise<void> {
  const socket = await openUdp(guest.namespace, guest.address, port);
  socket.on("message", (_text, { address, port }) => socket.send(guest.name, port, address));
  fabric.stack.defer(() => void socket.close());
}

/** A UDP socket inside a namespace; you close it. */
export async function openUdp(namespace: string, address: Ipv4Address, port: number) {
  const keepAll = [[0x06, 0, 0, 0xffff]] as const; // BPF: return 65535 bytes
  const fd = inNamespace(namespace, () => openDatagramSocketFd(address, port, keepAll));
  const socket = createSocket("udp4");
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.bind({ fd }, resolve);
  await promise;
  return socket;
}

/** Where a guest is, for the other nodes. */
export function peerOf(vnet: TestVnet, guest: TestGuest): OverlayPeer {
  return { mac: guest.mac, address: guest.address, nodeAddress: vnet.node.address };
}

/** Tells each node where all guests are. */
export async function tellAll(
  vnets: readonly TestVnet[],
  guests: readonly (readonly [TestVnet, TestGuest])[],
): Promise<void> {
  const nodes = vnets.map(({ node }) => node.address);
  for (const vnet of vnets) {
    const peers = guests.flatMap(([at, guest]) => (at === vnet ? [] : [peerOf(at, guest)]));
    await setPeers(vnet.overlay, { peers, nodes });
  }
}

/** Sends UDP datagrams from a guest's own address, to `[address, port, bytes]` each. */
export async function sendDatagrams(
  guest: { readonly namespace: string; readonly address: Ipv4Address },
  sourcePort: number,
  targets: readonly (readonly [string, number, Uint8Array])[],
): Promise<void> {
  const fd = inNamespace(guest.namespace, () =>
    openDatagramSocketFd(guest.address, sourcePort, DROP_ALL),
  );
  const socket = createSocket("udp4");
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.bind({ fd }, resolve);
  await promise;
  socket.setBroadcast(true);
  for (const [address, port, bytes] of targets) {
    await new Promise((sent) => socket.send(bytes, port, address, sent));
  }
  socket.close();
}

/** What a TCP server says, or the error's name; `from` is a namespace. */
export async function ask(
  from: string,
  address: Ipv4Address,
  { port = 80, waitMs = ANSWER_WAIT_MS } = {},
): Promise<string> {
  const connection = inNamespace(from, () => openConnection(address, port));
  if (typeof connection === "string") return connection;
  const failure = await connection.connected(waitMs);
  const socket = new Socket({ fd: connection.fd, readable: true, writable: true });
  if (failure !== undefined) {
    socket.destroy();
    return failure;
  }
  let text = "";
  socket.setEncoding("utf8").setTimeout(waitMs, () => socket.destroy());
  try {
    for await (const part of socket) text += part;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? "failed";
  }
  return text;
}

function removeAll(prefix: string): void {
  const names = ip("netns", "list")
    .split("\n")
    .map((line) => line.split(" ")[0] ?? "")
    .filter((name) => name.startsWith(prefix));
  for (const name of names) ip("netns", "del", name);
}
