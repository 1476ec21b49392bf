/** What a scenario is: a network, a server, and what happens one after the other. */
import type {
  BootDescription,
  ClasslessRoute,
  OptionProfileSpec,
  ReplyPolicy,
} from "../../src/dhcp/index.ts";
import type { Message, OptionValue, Port, Station } from "./vocabulary.ts";

/** A NIC of the inventory. */
export interface Nic {
  readonly address: string;
  /** Default: the port that the station is behind. */
  readonly port?: Port;
  readonly hostname?: string;
  readonly boot?: BootDescription;
}

/** The inventory by MAC. */
export type Inventory = Partial<Record<Station, Nic>>;

/** M1 has .5 behind tap1, M2 has .6 behind tap2. */
export const TWO_NICS: Inventory = { M1: { address: ".5" }, M2: { address: ".6" } };

/** What the network and the server are like; what is left out is as a VNET has it. */
export interface Setup {
  readonly nics?: Inventory;
  readonly network?: Partial<Omit<OptionProfileSpec, "routes">> & {
    readonly routes?: readonly ClasslessRoute[];
  };
  readonly policy?: Partial<ReplyPolicy>;
  /** The subnet that trusted relays are in. */
  readonly relays?: string;
  /** True: a guest may send to the gateway's MAC address, and we answer. */
  readonly isGateway?: boolean;
  /**
   * Where the inventory is asked: in memory (default), or elsewhere, which takes a while and may fail. What memory does
   * not know is then asked elsewhere.
   */
  readonly backend?: { readonly nics: Inventory; readonly latencyMs: number };
}

/** A reply as the catalogue describes it; the golden file has all the rest. */
export interface ExpectedReply {
  readonly type: "DHCPOFFER" | "DHCPACK" | "DHCPNAK" | "BOOTREPLY";
  /** Default 0.0.0.0. */
  readonly yiaddr?: string;
  /** `all`, or `STATION ADDRESS`, or `STATION ADDRESS:PORT`. */
  readonly to: string;
  readonly ciaddr?: string;
  readonly siaddr?: string;
  readonly giaddr?: string;
  readonly flags?: number;
  readonly xid?: number;
  readonly file?: string;
  /** Data by code; `true` for any, `false` for an option that must not be there. */
  readonly options?: Readonly<Record<number, OptionValue | boolean>>;
  /** The code of every option instance, in order. */
  readonly order?: readonly number[];
  /** Octets of the IP datagram: the least and the most. */
  readonly datagram?: readonly [number, number];
}

/** What comes of a step. */
export interface Outcome {
  readonly replies?: readonly ExpectedReply[];
  /** The reason of each frame that was dropped, in order. */
  readonly drops?: readonly string[];
  /** Oddities that were counted: of RequestNote, `omitted` for options that did not fit. */
  readonly notes?: readonly string[];
  /** Requests that the inventory elsewhere was asked about. */
  readonly asked?: number;
}

export type BackendState = "up" | "down" | "silent";

export type Step = Outcome & {
  /** Default `A`; `B` is another host's server with the same inventory. */
  readonly server?: "A" | "B";
} & (
    | { readonly kind: "send"; readonly message: Message }
    | { readonly kind: "wait"; readonly ms: number }
    | { readonly kind: "inventory"; readonly nics: Inventory }
    | { readonly kind: "backend"; readonly state: BackendState }
    | { readonly kind: "restart" }
  );

export interface Scenario {
  readonly id: string;
  readonly name: string;
  readonly setup?: Setup;
  readonly steps: readonly Step[];
}

export const scenario = (
  id: string,
  name: string,
  ...rest: readonly (Setup | Step)[]
): Scenario => {
  const steps = rest.filter((part): part is Step => "kind" in part);
  const setup = rest.find((part): part is Setup => !("kind" in part));
  return { id, name, steps, ...(setup !== undefined && { setup }) };
};

/** A message, and the replies to it. */
export const send = (message: Message, ...replies: readonly ExpectedReply[]): Step => ({
  kind: "send",
  message,
  replies,
});

/** A message that is met with silence, and why. */
export const ignored = (message: Message, reason: string): Step => ({
  kind: "send",
  message,
  drops: [reason],
});

/** Adds what was counted to a step. */
export const noting = (step: Step, ...notes: readonly string[]): Step => ({ ...step, notes });

/** A message that an inventory elsewhere is being asked about. */
export const pending = (message: Message, asked = 1): Step => ({ kind: "send", message, asked });

export const wait = (ms: number, ...replies: readonly ExpectedReply[]): Step => ({
  kind: "wait",
  ms,
  replies,
});

export const inventory = (nics: Inventory): Step => ({ kind: "inventory", nics });

export const on = (server: "A" | "B", step: Step): Step => ({ ...step, server });

type ReplyWords = Partial<Omit<ExpectedReply, "type" | "yiaddr" | "to">>;

/** To M1 and .5 unless the words say otherwise. */
export const offer = (
  yiaddr = ".5",
  to = `M1 ${yiaddr}`,
  words: ReplyWords = {},
): ExpectedReply => ({
  type: "DHCPOFFER",
  yiaddr,
  to,
  ...words,
});
export const ack = (yiaddr = ".5", to = `M1 ${yiaddr}`, words: ReplyWords = {}): ExpectedReply => ({
  type: "DHCPACK",
  yiaddr,
  to,
  ...words,
});
/** The answer to DHCPINFORM: no address, no lease. */
export const informed = (to = "M1 .5", words: ReplyWords = {}): ExpectedReply => ({
  type: "DHCPACK",
  to,
  ...words,
  options: { 51: false, 58: false, 59: false, ...words.options },
});
export const nak = (to = "all", words: ReplyWords = {}): ExpectedReply => ({
  type: "DHCPNAK",
  to,
  ...words,
});
