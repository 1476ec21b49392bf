/** A store with goals, and a simulated machine, for tests of the network agent. */
import { setImmediate } from "node:timers/promises";
import { keys, type NicGoal, type NicStatus } from "../../../src/model/documents.ts";
import { portName } from "../../../src/model/names.ts";
import type { NodeVnet } from "../../../src/nm/agent/node-vnet.ts";
import { NetworkAgent, SimulatedNetwork } from "../../../src/nm/index.ts";
import { type FabricStore, openMemoryStore } from "../../../src/store/index.ts";

export const NODE = "node-1";

/** The MAC, address and container of a NIC, all of them functions of its number. */
export function nicOf(number: number, vnet: string, node = NODE): NicGoal {
  const mac = `02:67:73:00:00:${number.toString(16).padStart(2, "0")}`;
  return {
    ...{ mac, vnet, node, role: "web", hostname: `web-${number}`, inService: false },
    container: `${vnet}-${number}`,
    address: `10.20.0.${number}`,
  };
}

export const portOf = (nic: NicGoal) => portName(nic.mac);

/** An agent that runs, and what it told. */
export interface RunningAgent {
  readonly agent: NetworkAgent;
  readonly programmed: string[];
  readonly errors: string[];
  readonly vnets: Map<string, NodeVnet>;
  /** Ends it as a kill does: nothing on the machine changes. */
  kill(): Promise<void>;
}

export class FakeFabric {
  readonly store: FabricStore = openMemoryStore();
  readonly network = new SimulatedNetwork();
  nowMs = 0;

  async vnet(vnet: string): Promise<void> {
    const goal = { vnet, tenant: "t", addressSpace: "10.20.0.0/24", gateway: "10.20.0.1", vni: 1 };
    await this.store.txn({ success: [{ kind: "put", key: keys.vnet(vnet), value: goal }] });
  }

  /** Places a NIC's container, or moves it, in one transaction. */
  async place(nic: NicGoal): Promise<void> {
    const { container, vnet, node } = nic;
    const placement = keys.placement(NODE, container);
    await this.store.txn({
      success: [
        { kind: "put", key: keys.nic(vnet, nic.mac), value: nic },
        { kind: "put", key: keys.containerGoal(container), value: { container, vnet, node } },
        node === NODE
          ? { kind: "put", key: placement, value: { revision: 1 } }
          : { kind: "delete", key: placement },
      ],
    });
  }

  async remove({ container, vnet, mac }: NicGoal): Promise<void> {
    const gone = [
      keys.nic(vnet, mac),
      keys.containerGoal(container),
      keys.placement(NODE, container),
    ];
    await this.store.txn({ success: gone.map((key) => ({ kind: "delete", key })) });
  }

  async start(): Promise<RunningAgent> {
    const programmed: string[] = [];
    const errors: string[] = [];
    const vnets = new Map<string, NodeVnet>();
    const stop = new AbortController();
    const agent = new NetworkAgent({
      store: this.store,
      node: NODE,
      network: this.network,
      now: () => this.nowMs,
      intervalMs: 3_600_000,
      startServices: async (vnet) => {
        vnets.set(vnet.vnet, vnet);
        return { [Symbol.asyncDispose]: async () => void vnets.delete(vnet.vnet) };
      },
      onProgrammed: (nic) => programmed.push(nic.container),
      onError: (what, error) => errors.push(`${what}: ${error}`),
    });
    const running = agent.run(stop.signal);
    await settle();
    const kill = async () => {
      stop.abort();
      await running;
      await agent[Symbol.asyncDispose]();
    };
    return { agent, programmed, errors, vnets, kill };
  }

  async status(nic: NicGoal): Promise<NicStatus | undefined> {
    const { kv } = await this.store.get(keys.nicStatus(NODE, nic.mac));
    return kv?.value as NicStatus | undefined;
  }

  isOpen(nic: NicGoal): boolean {
    const port = this.network.listPorts(nic.vnet)?.find(({ name }) => name === portOf(nic));
    return port?.isUp === true || port?.isAttached === true;
  }
}

/** Lets everything run that waits for nothing but its turn. */
export async function settle(turns = 60): Promise<void> {
  for (let turn = 0; turn < turns; turn += 1) await setImmediate();
}
