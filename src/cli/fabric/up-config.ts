/** The configuration of `goalstate up`: nodes, capacity, address pools. */
import { availableParallelism, totalmem } from "node:os";
import { z } from "zod";
import { FabricError } from "../../model/errors.ts";
import { formatIpv4, ipv4Plus, isHostAddress, parseSubnet } from "../../model/ipv4-address.ts";
import { NameSchema } from "../../model/names.ts";
import { SubnetSchema, validate } from "../../model/schema.ts";
import { readYaml } from "../read-yaml.ts";

/** Guests share processors: most wait most of the time. */
const CPU_OVERCOMMIT = 8;
/** Of the machine's memory that containers may take; the rest is the host's. */
const MEMORY_SHARE = 0.75;
const NODES_MAX = 64;
/** The namespace of the switch between the nodes is called so. */
const RESERVED_NAME = "underlay";
const MEBIBYTE = 1024 * 1024;

const NodeSchema = z.strictObject({
  name: NameSchema,
  faultDomain: z.string().min(1).max(63).optional(),
  cpus: z.int().min(1).max(4096).optional(),
  memoryMib: z.int().min(128).optional(),
});

const UpConfigSchema = z.strictObject({
  nodes: z.array(NodeSchema).min(1, "has no node").max(NODES_MAX).optional(),
  hypervisor: z.enum(["qemu", "netns", "auto"]).optional(),
  /** The network between the nodes. */
  underlay: SubnetSchema.default(parseSubnet("100.127.0.0/24")),
  /** What public addresses are taken from; by default what RFC 2544 keeps for tests, which is nobody's. */
  vips: SubnetSchema.default(parseSubnet("198.18.0.0/24")),
  /** How long a node may be silent until its containers are moved. */
  nodeTtlSeconds: z.number().min(1).max(3600).default(10),
});

type UpConfigFile = z.infer<typeof UpConfigSchema>;

/** A node as it is started. */
export interface NodeConfig {
  readonly name: string;
  /** On the underlay, as ADDRESS/PREFIX. */
  readonly address: string;
  readonly faultDomain: string;
  readonly cpus: number;
  readonly memoryMib: number;
}

/** See {@link readUpConfig}. */
export interface UpConfig extends Omit<UpConfigFile, "nodes"> {
  readonly nodes: readonly NodeConfig[];
}

/**
 * Reads the configuration file, if there is one, and fills in what it leaves open: this machine's processors and
 * memory, shared by its nodes; each node a fault domain of its own.
 *
 * @param nodeCount - makes node-1 to node-N where the file names no nodes
 * @throws FabricError ERR_USAGE_FILE, ERR_USAGE_UP_CONFIG
 */
export function readUpConfig(path: string | undefined, nodeCount: number | undefined): UpConfig {
  const source = path ?? "the configuration";
  const read = path === undefined ? {} : (readYaml(path) ?? {});
  const file = validate(UpConfigSchema, read, source, "ERR_USAGE_UP_CONFIG");
  if (file.nodes !== undefined && nodeCount !== undefined) {
    const message = `${source} names its nodes: leave out --nodes, or 'nodes' in the file`;
    throw new FabricError("ERR_USAGE_UP_CONFIG", message);
  }
  const named = file.nodes ?? defaultNodes(nodeCount ?? 1);
  if (named.some(({ name }) => name === RESERVED_NAME)) {
    const message = `${source}: no node may be called ${RESERVED_NAME}; so is the network between them`;
    throw new FabricError("ERR_USAGE_UP_CONFIG", message);
  }
  refuseTwins(
    source,
    named.map(({ name }) => name),
  );
  const share = named.length;
  const nodes = named.map((node, index): NodeConfig => {
    const address = ipv4Plus(file.underlay.network, index + 1);
    if (!isHostAddress(file.underlay, address)) {
      const message = `${source}: underlay has no address for node ${node.name}; give it a larger subnet`;
      throw new FabricError("ERR_USAGE_UP_CONFIG", message);
    }
    return {
      name: node.name,
      address: `${formatIpv4(address)}/${file.underlay.prefixLength}`,
      faultDomain: node.faultDomain ?? node.name,
      cpus: node.cpus ?? Math.ceil((availableParallelism() * CPU_OVERCOMMIT) / share),
      memoryMib: node.memoryMib ?? Math.floor((totalmem() * MEMORY_SHARE) / MEBIBYTE / share),
    };
  });
  return { ...file, nodes };
}

function defaultNodes(count: number): z.infer<typeof NodeSchema>[] {
  return Array.from({ length: count }, (_, index) => ({ name: `node-${index + 1}` }));
}

function refuseTwins(source: string, names: readonly string[]): void {
  // What a node makes is recognised by a name that begins with the node's and a hyphen.
  for (const name of names) {
    const longer = names.find((other) => other.startsWith(`${name}-`));
    if (longer === undefined) continue;
    const message = `${source}: the name of node ${longer} begins with that of node ${name}; rename one`;
    throw new FabricError("ERR_USAGE_UP_CONFIG", message);
  }
  const twin = names.find((name, index) => names.indexOf(name) !== index);
  if (twin === undefined) return;
  throw new FabricError("ERR_USAGE_UP_CONFIG", `${source}: two nodes are called ${twin}`);
}
