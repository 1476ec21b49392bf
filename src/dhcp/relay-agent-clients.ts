/** Who asked through a relay agent a moment ago, and from which port: replies go there and nowhere else. */

import type { MacAddress } from "../model/mac-address.ts";
import type { RelayedClient } from "./relay-agent.ts";

/** Most clients of one network that are remembered; beyond, the one that asked longest ago is forgotten. */
export const RELAY_CLIENTS_MAX = 65_536;
/** How long a server has for its reply. Clients ask again after a few seconds. */
export const RELAY_REPLY_MS = 60_000;

interface Entry {
  readonly client: RelayedClient;
  readonly atMs: number;
}

/** The clients of one network, by chaddr. */
export class RelayClients {
  readonly #entries = new Map<MacAddress, Entry>();

  /** Remembers a client's last request in place of the one before. */
  remember(chaddr: MacAddress, client: RelayedClient, nowMs: number): void {
    this.#entries.delete(chaddr); // to the end: a Map keeps the order in which keys came
    if (this.#entries.size >= RELAY_CLIENTS_MAX) {
      const [oldest] = this.#entries.keys();
      if (oldest !== undefined) this.#entries.delete(oldest);
    }
    this.#entries.set(chaddr, { client, atMs: nowMs });
  }

  /** The client if it asked at most {@link RELAY_REPLY_MS} ago. */
  find(chaddr: MacAddress, nowMs: number): RelayedClient | undefined {
    const entry = this.#entries.get(chaddr);
    if (entry === undefined) return undefined;
    if (nowMs - entry.atMs <= RELAY_REPLY_MS) return entry.client;
    this.#entries.delete(chaddr);
    return undefined;
  }
}
