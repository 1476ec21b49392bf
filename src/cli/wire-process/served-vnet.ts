/** A VNET that the wire process serves, as its node keeps it: all that a new wire process has to be told. */
import { closeSync } from "node:fs";
import {
  type Ipv4Address,
  METADATA_ADDRESS,
  WIRE_SERVER_ADDRESS,
} from "../../model/ipv4-address.ts";
import { WIRE_SERVICES, type WireService } from "../../model/playbook.ts";
import { inNamespace } from "../../net/namespace.ts";
import { openListener } from "../../net/sockets.ts";
import {
  HOST_PLUGIN_PORT,
  type WireContainer,
  type WireEvents,
  type WireInstance,
  type WireObserver,
} from "../../wireserver/index.ts";
import type { Order, SharedContainer } from "./messages.ts";

const HTTP_PORT = 80;

const PLACES: Readonly<Record<WireService, { address: Ipv4Address; port: number }>> = {
  wireServer: { address: WIRE_SERVER_ADDRESS, port: HTTP_PORT },
  hostPlugin: { address: WIRE_SERVER_ADDRESS, port: HOST_PLUGIN_PORT },
  metadata: { address: METADATA_ADDRESS, port: HTTP_PORT },
};

/** A listening socket. It is kept open here, so that guests who connect while no wire process runs wait for the next. */
export interface KeptListener {
  readonly service: WireService;
  readonly fd: number;
}

/** What {@link ServedVnet} needs. */
export interface ServedVnetOptions {
  /** Absent: this process's own. */
  readonly namespace?: string;
  readonly observer: WireObserver;
  /** Absent: nothing is ever scheduled. */
  readonly events?: WireEvents;
}

/** See the file's comment. */
export class ServedVnet implements Disposable {
  readonly id: number;
  readonly observer: WireObserver;
  /** Absent: nothing is ever scheduled. */
  readonly events: WireEvents | undefined;
  readonly listeners: readonly KeptListener[];
  readonly #containers = new Map<string, SharedContainer>();
  #instances: readonly WireInstance[] = [];
  #isOpen = true;

  /**
   * Opens the sockets in the calling thread.
   *
   * @throws FabricError ERR_NET_ADDRESS_IN_USE, ERR_NET_NAMESPACE, ERR_NET_SYSTEM_CALL
   */
  constructor(id: number, { namespace, observer, events }: ServedVnetOptions) {
    this.id = id;
    this.observer = observer;
    this.events = events;
    const listeners: KeptListener[] = [];
    this.listeners = listeners;
    try {
      for (const service of WIRE_SERVICES) {
        const { address, port } = PLACES[service];
        const fd = inNamespace(namespace, () => openListener(address, port));
        listeners.push({ service, fd });
      }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** False once its sockets are closed. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  // Each keeps what it is told, and returns what a wire process that runs has to be told.

  setInstances(instances: readonly WireInstance[]): Order[] {
    this.#instances = instances;
    return [{ kind: "instances", vnet: this.id, instances }];
  }

  setContainer(shared: SharedContainer): Order[] {
    const { name, address } = shared.container;
    const moved = this.#containers.get(name)?.container.address !== address;
    const before = moved ? this.forget(name) : [];
    this.#containers.set(name, shared);
    return [...before, { kind: "container", vnet: this.id, ...shared }];
  }

  forget(name: string): Order[] {
    const shared = this.#containers.get(name);
    if (shared === undefined) return [];
    this.#containers.delete(name);
    return [{ kind: "forget", vnet: this.id, address: shared.container.address, name }];
  }

  /** All that was said of it. */
  *orders(): Iterable<Order> {
    yield { kind: "instances", vnet: this.id, instances: this.#instances };
    for (const shared of this.#containers.values()) {
      yield { kind: "container", vnet: this.id, ...shared };
    }
  }

  find(name: string): WireContainer | undefined {
    const shared = this.#containers.get(name);
    return shared && { ...shared.container, instances: this.#instances };
  }

  /** True if an extension of one of its containers has this content. */
  hasArtifact(sha256: string): boolean {
    for (const { container } of this.#containers.values()) {
      if (container.extensions?.some((each) => each.package.sha256 === sha256)) return true;
    }
    return false;
  }

  [Symbol.dispose](): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    for (const { fd } of this.listeners) closeSync(fd);
  }
}
