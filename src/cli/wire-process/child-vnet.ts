/** One VNET in the wire process: its containers, and the services on the sockets that were handed for it. */
import type { Server, Socket } from "node:net";
import type { FastifyBaseLogger, FastifyInstance } from "fastify";
import { type Ipv4Address, WIRE_SERVER_ADDRESS } from "../../model/ipv4-address.ts";
import { WIRE_SERVICES, type WireService } from "../../model/playbook.ts";
import {
  createHostPlugin,
  createMetadataService,
  createWireServer,
  type GuestServiceOptions,
  type MetadataServiceOptions,
  RequestBudget,
  WIRE_REQUESTS,
  type WireContainer,
  type WireFaults,
  type WireInstance,
  type WireObserver,
  type WireRecorder,
} from "../../wireserver/index.ts";
import type { ChildLink } from "./child-link.ts";
import { ContactBook } from "./contact-book.ts";
import type { SharedContainer } from "./messages.ts";
import type { RefusalFilter } from "./refusal-filter.ts";
import { RemoteVault, remoteArtifacts, remoteAttester, remoteEvents } from "./remote-host.ts";

/** What {@link ChildVnet} needs. */
export interface ChildVnetOptions {
  readonly vnet: number;
  readonly link: ChildLink;
  readonly faults: WireFaults;
  readonly recorder: WireRecorder;
  readonly refusals: RefusalFilter;
  readonly log: FastifyBaseLogger;
}

/** See the file's comment. */
export class ChildVnet {
  readonly #options: ChildVnetOptions;
  readonly #shared = new Map<Ipv4Address, SharedContainer>();
  /** As the services see them; made when it is asked for. */
  readonly #containers = new Map<Ipv4Address, WireContainer>();
  readonly #services = new Map<WireService, Promise<FastifyInstance>>();
  readonly #contacts: ContactBook;
  readonly #vault: RemoteVault;
  readonly #budget = new RequestBudget(() => performance.now(), WIRE_REQUESTS);
  #instances: readonly WireInstance[] = [];
  #ids: ReadonlySet<string> = new Set();

  constructor(options: ChildVnetOptions) {
    this.#options = options;
    const { link, vnet } = options;
    this.#vault = new RemoteVault(link, vnet);
    this.#contacts = new ContactBook((contacts) =>
      link.send({ kind: "contacts", vnet, contacts: [...contacts] }),
    );
  }

  setInstances(instances: readonly WireInstance[]): void {
    this.#instances = instances;
    this.#ids = new Set(instances.map(({ id }) => id));
    this.#containers.clear();
  }

  setContainer(shared: SharedContainer): void {
    const { address } = shared.container;
    const before = this.#shared.get(address)?.container;
    // Also one of the same name is another, with another certificate.
    if (before !== undefined && before.containerId !== shared.container.containerId) {
      this.forget(address, before.name);
    }
    this.#shared.set(address, shared);
    this.#containers.delete(address);
  }

  forget(address: Ipv4Address, name: string): void {
    if (this.#shared.get(address)?.container.name !== name) return;
    this.#shared.delete(address);
    this.#containers.delete(address);
    this.#contacts.forget(name);
    this.#vault.forget(name);
  }

  /** Serves on a listening socket; resolves when it does. */
  async listen(service: WireService, listener: Server): Promise<void> {
    const app = await this.#service(service);
    await new Promise<void>((resolve, reject) => {
      app.server.once("error", reject);
      app.server.listen(listener, () => resolve());
    });
  }

  /** Serves a connection that the node had accepted already. */
  async take(service: WireService, connection: Socket): Promise<void> {
    connection.on("error", () => connection.destroy());
    const app = await this.#service(service);
    app.server.emit("connection", connection);
  }

  /** Tells the node what has been asked since the last time. */
  flushContacts(): void {
    if (this.#options.link.hasRoom) this.#contacts.flushAll();
  }

  async close(): Promise<void> {
    const services = [...this.#services.values()];
    this.#services.clear();
    await Promise.all(services.map(async (app) => closeService(await app)));
  }

  #service(service: WireService): Promise<FastifyInstance> {
    const known = this.#services.get(service);
    if (known !== undefined) return known;
    const made = this.#make(service);
    this.#services.set(service, made);
    return made;
  }

  async #make(service: WireService): Promise<FastifyInstance> {
    const { link, vnet, faults, recorder, log } = this.#options;
    const common: GuestServiceOptions = {
      directory: { findByAddress: (address) => this.#find(address) },
      observer: this.#observer(),
      faults,
      recorder,
      vault: this.#vault,
      artifacts: remoteArtifacts(link),
      ...(service !== "metadata" && { budget: this.#budget }), // that has its own
      logger: log,
    };
    const app = createService(service, {
      ...{ ...common, now: () => performance.now() },
      ...{ events: remoteEvents(link, vnet), attester: remoteAttester(link, vnet) },
    });
    await app.ready();
    return app;
  }

  #find(address: Ipv4Address): WireContainer | undefined {
    const known = this.#containers.get(address);
    if (known !== undefined) return known;
    const shared = this.#shared.get(address);
    if (shared === undefined) return undefined;
    const { container, self } = shared;
    const isListed = this.#ids.has(self.id);
    const instances = isListed ? this.#instances : [...this.#instances, self];
    const made: WireContainer = { ...container, instances };
    this.#containers.set(address, made);
    return made;
  }

  #observer(): WireObserver {
    const { link, vnet, refusals } = this.#options;
    const contacts = this.#contacts;
    return {
      contact: (container, { kind, incarnation }) => contacts.note(container, kind, incarnation),
      health: ({ name }, report) => {
        contacts.flush(name);
        return link.report(vnet, name, { type: "health", report });
      },
      agentStatus: ({ name }, status) => {
        contacts.flush(name);
        const extensions = status.extensions.map((each) => ({ ...each }));
        return link.report(vnet, name, { type: "agentStatus", status: { ...status, extensions } });
      },
      roleProperties: ({ name }, properties) => {
        contacts.flush(name);
        return link.report(vnet, name, { type: "roleProperties", properties: new Map(properties) });
      },
      refused: (address, reason) => {
        if (!link.hasRoom || !refusals.isNews(`${vnet} ${address}`, reason)) return;
        link.send({ kind: "refused", vnet, address, reason });
      },
    };
  }
}

function createService(service: WireService, options: MetadataServiceOptions): FastifyInstance {
  switch (service) {
    case "wireServer":
      return createWireServer({ ...options, endpoint: WIRE_SERVER_ADDRESS });
    case "hostPlugin":
      return createHostPlugin(options);
    case "metadata":
      return createMetadataService(options);
    default:
      throw service satisfies never;
  }
}

/** fastify closes only servers that it started itself. */
async function closeService(app: FastifyInstance): Promise<void> {
  app.server.closeAllConnections();
  await new Promise<void>((resolve) => app.server.close(() => resolve()));
  await app.close();
}

/** Makes each service once, has it answer something, and lets it go: what they load late they load now. */
export async function warmUp(log: FastifyBaseLogger): Promise<void> {
  const common = {
    directory: { findByAddress: () => undefined },
    observer: SILENT,
    logger: log,
  };
  for (const service of WIRE_SERVICES) {
    const app = createService(service, common);
    await app.inject({ method: "POST", url: "/", payload: "x" });
    await app.close();
  }
}

const SILENT: WireObserver = {
  contact: () => undefined,
  health: async () => undefined,
  roleProperties: async () => undefined,
  refused: () => undefined,
};
