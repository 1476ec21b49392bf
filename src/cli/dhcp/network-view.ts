/** What the commands that look inside a running DHCP server read of it. Everything is read when it is asked for. */
import type { DhcpCounters } from "../../dhcp/index.ts";
import type { MacAddress } from "../../model/mac-address.ts";
import type { FrameSocketCounters } from "../../net/frame-socket.ts";
import type { JournalEntry, PluginCounters } from "../../wds/index.ts";

/** One network that is answered: an interface of `serve`, or a VNET. */
export interface DhcpNetworkView {
  /** The interface or the VNET; few, so that it may label a metric. */
  readonly name: string;
  readonly counters: DhcpCounters;
  readonly plugins: ReadonlyMap<string, PluginCounters>;
  readonly decisions: DecisionSource;
  /** The packet socket's own counters; asks the kernel. */
  readSocketCounters(): FrameSocketCounters;
  /** Names of the interfaces of this network by their index. */
  listInterfaces(): Promise<ReadonlyMap<number, string>>;
}

/** The last decisions of one network. */
export interface DecisionSource {
  /** What is kept of a client; undefined if nothing is. */
  explain(mac: MacAddress): ClientDecisions | undefined;
  /** Who was heard last, newest first: clients that were assigned an address, or strangers. */
  recent(who: "clients" | "strangers", limit: number): readonly MacAddress[];
}

/** What is kept of one client. */
export interface ClientDecisions {
  /** The container that an answer to it named last. */
  readonly container?: string;
  /** Newest first. */
  readonly entries: readonly JournalEntry[];
}
