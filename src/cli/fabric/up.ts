/** `goalstate up`: a whole fabric on this machine, its nodes in processes and network namespaces of their own. */
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { removeLeftovers } from "../../compute/index.ts";
import { keys } from "../../model/documents.ts";
import { broadcastOf, formatSubnet, type Ipv4Address } from "../../model/ipv4-address.ts";
import { exposeToHost, unexposeFromHost } from "../../net/host-exposure.ts";
import { createUnderlay } from "../../net/node-network.ts";
import type { FabricStore } from "../../store/index.ts";
import { aborted } from "../aborted.ts";
import { openDataFolder } from "../data-folder.ts";
import type { HypervisorChoice } from "../hypervisor-choice.ts";
import { requireRoot } from "../require-root.ts";
import { runControl } from "./control-process.ts";
import { superviseNodes } from "./supervisor.ts";
import { type NodeConfig, readUpConfig, type UpConfig } from "./up-config.ts";

const LOOK_MS = 50;

/** What {@link runUp} needs. */
export interface UpOptions {
  readonly data: string;
  readonly config?: string;
  readonly nodes?: number;
  readonly hypervisor?: HypervisorChoice;
  readonly keepRunning: boolean;
  /** Programs on this machine may reach public addresses: one interface and one route in its own network. */
  readonly expose: boolean;
  /** Path of the goalstate program: node processes are started with it. */
  readonly program: string;
  readonly logLevel: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly print: (line: string) => void;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/**
 * Runs a fabric until `signal` aborts. Prints `ready` when commands are answered and all nodes are there. What is
 * deployed stays in the data folder, and the next start brings it up again.
 */
export async function runUp(options: UpOptions): Promise<void> {
  requireRoot("ERR_UP_PRIVILEGE", "Network namespaces and taps");
  const { log, print, signal } = options;
  const config = readUpConfig(options.config, options.nodes);
  await using data = await openDataFolder(options.data);
  const prefix = `gs-${data.fabricId}-`;
  const hypervisor = options.hypervisor ?? config.hypervisor ?? "auto";
  print(`data folder ${data.path}`);
  if (options.expose) {
    const name = await exposeVips(prefix, config);
    print(`public addresses ${formatSubnet(config.vips)} are reached through ${name}`);
  }
  await runControl({ data, config, command: "up", log, signal }, async () => {
    const nodes = superviseNodes({
      nodes: config.nodes,
      folder: data.path,
      command: (node) => nodeCommand(options, data.path, config, hypervisor, node),
      environment: options.environment,
      log,
    });
    try {
      for (const { name } of config.nodes) await awaitNode(data.store, name, signal, print);
      if (!signal.aborted) print("ready");
      await aborted(signal);
      print("stopping");
    } finally {
      await nodes[Symbol.asyncDispose]();
    }
  });
  if (options.expose) await unexposeFromHost({ address: hostAddress(config) });
  if (options.keepRunning) return print("the VMs run on; the next 'goalstate up' adopts them");
  await removeLeftovers(prefix);
}

/** This machine takes the underlay's last address, nodes its first ones. */
function hostAddress({ underlay }: UpConfig): Ipv4Address {
  return (broadcastOf(underlay) - 1) as Ipv4Address;
}

async function exposeVips(prefix: string, config: UpConfig): Promise<string> {
  const underlay = await createUnderlay({ prefix, subnet: config.underlay });
  return await exposeToHost({ underlay, address: hostAddress(config), pool: config.vips });
}

function nodeCommand(
  { program, logLevel }: UpOptions,
  folder: string,
  config: UpConfig,
  hypervisor: HypervisorChoice,
  node: NodeConfig,
): string[] {
  return [
    ...[program, "node", node.name, "--data", folder, "--address", node.address],
    ...["--fault-domain", node.faultDomain, "--cpus", String(node.cpus)],
    ...["--memory-mib", String(node.memoryMib), "--ttl", String(config.nodeTtlSeconds)],
    ...["--hypervisor", hypervisor, "--log-level", logLevel],
  ];
}

async function awaitNode(
  store: FabricStore,
  node: string,
  signal: AbortSignal,
  print: (line: string) => void,
): Promise<void> {
  while (!signal.aborted) {
    const { kv } = await store.get(keys.node(node));
    if (kv !== undefined) return print(`node ${node} is there`);
    await delay(LOOK_MS);
  }
}
