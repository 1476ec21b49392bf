/**
 * Firewalls of others: rules that somebody else made and that may hold up our traffic. They are named with what was seen
 * and what it does; nothing is changed.
 */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { inNamespace } from "./namespace.ts";
import { runTool } from "./run-tool.ts";

/** A finding, for people. */
export interface ForeignFirewall {
  /** `ufw`, `firewalld`, `Docker`, or the table's name. */
  readonly name: string;
  readonly evidence: string;
  readonly effect: string;
}

/** What was read of one namespace. */
export interface FirewallView {
  /** Absent: the machine's own namespace. */
  readonly namespace?: string;
  /** `nft -j list ruleset`, parsed. */
  readonly ruleset: unknown;
  /** `iptables-save`, where the older kernel interface is in use; absent: not read. */
  readonly iptablesSave?: string;
  /** True if frames between ports of a bridge pass the IP rules of the namespace too. */
  readonly bridgeCallsIptables: boolean;
}

const RulesetSchema = z.object({
  nftables: z.array(
    z.looseObject({
      chain: z
        .looseObject({
          family: z.string(),
          table: z.string(),
          name: z.string(),
          hook: z.string().optional(),
          policy: z.string().optional(),
        })
        .optional(),
    }),
  ),
});

type Chain = NonNullable<z.infer<typeof RulesetSchema>["nftables"][number]["chain"]>;

/** Our own tables, in every family. */
const OWN_TABLE = /^goalstate(_|$)/;
/** Chains by which a firewall is known, in the tables of iptables or of its own. */
const SIGNS = [
  { name: "ufw", isSign: ({ name }: Chain) => /^ufw6?-/.test(name) },
  { name: "firewalld", isSign: ({ table }: Chain) => table === "firewalld" },
  {
    name: "Docker",
    isSign: ({ name, table }: Chain) => /^DOCKER/.test(name) || /^docker-/.test(table),
  },
] as const;

/** Names what is there of others. Hooks that a frame of ours does not pass are of no interest. */
export function findForeignFirewalls(view: FirewallView): ForeignFirewall[] {
  const parsed = RulesetSchema.safeParse(view.ruleset);
  const rules = parsed.success ? parsed.data.nftables : [];
  const chains = [
    ...rules.flatMap(({ chain }) => (chain === undefined ? [] : [chain])),
    ...chainsOfSave(view.iptablesSave ?? ""),
  ].filter(({ table }) => !OWN_TABLE.test(table));
  const known = SIGNS.flatMap(({ name, isSign }) => {
    const sign = chains.find(isSign);
    return sign === undefined ? [] : [{ name, sign }];
  });
  const dropping = chains.filter(
    ({ hook, policy }) => policy === "drop" && hook !== undefined && hook !== "output",
  );
  const named = known.map(({ name, sign }) => {
    const drops = dropping.filter((chain) => belongsTo(name, chain));
    return finding(view, name, sign, drops);
  });
  const others = dropping.filter((chain) => !known.some(({ name }) => belongsTo(name, chain)));
  return [...named, ...others.map((chain) => finding(view, chain.table, chain, [chain]))];
}

/** ufw and Docker work through the base chains of iptables. */
function belongsTo(name: string, { table }: Chain): boolean {
  return name === "firewalld"
    ? table === "firewalld"
    : table === "filter" || /^docker-/.test(table);
}

function finding(
  view: FirewallView,
  name: string,
  sign: Chain,
  drops: readonly Chain[],
): ForeignFirewall {
  const where = view.namespace === undefined ? "the machine's own namespace" : view.namespace;
  const policies = drops.map(({ table, name: chain }) => `${table}/${chain} has policy drop`);
  const seen = [`chain ${sign.name} in table ${sign.family} ${sign.table}`, ...policies];
  return { name, evidence: `${where}: ${seen.join("; ")}`, effect: effectOf(view, drops) };
}

function effectOf(view: FirewallView, drops: readonly Chain[]): string {
  const hooks = new Set(drops.map(({ hook }) => hook));
  const effects = [
    ...(hooks.has("input") ? ["packets to this namespace are dropped unless it allows them"] : []),
    ...(hooks.has("forward") || hooks.has("prerouting")
      ? ["packets that are forwarded are dropped unless it allows them"]
      : []),
    ...(hooks.has("forward") && view.bridgeCallsIptables
      ? ["so are frames between bridge ports: net.bridge.bridge-nf-call-iptables is 1"]
      : []),
  ];
  return effects.join("; ") || "its rules may drop packets; its policies do not";
}

/** Chains as `iptables-save` writes them: `*filter`, then `:FORWARD DROP [0:0]`. */
function chainsOfSave(text: string): Chain[] {
  const chains: Chain[] = [];
  let table = "";
  for (const line of text.split("\n")) {
    if (line.startsWith("*")) table = line.slice(1).trim();
    const [, name, policy] = /^:(\S+) (\S+)/.exec(line) ?? [];
    if (name === undefined || policy === undefined) continue;
    const isBase = policy !== "-";
    const base = { hook: name.toLowerCase(), policy: policy.toLowerCase() };
    chains.push({ family: "ip", table, name, ...(isBase && base) });
  }
  return chains;
}

/** Reads these namespaces (undefined: the machine's own) and names what others have there. */
export async function readForeignFirewalls(
  namespaces: readonly (string | undefined)[],
): Promise<ForeignFirewall[]> {
  const found: ForeignFirewall[] = [];
  for (const namespace of namespaces) {
    found.push(...findForeignFirewalls(await readView(namespace)));
  }
  return found;
}

async function readView(namespace: string | undefined): Promise<FirewallView> {
  const read = async (tool: string, args: readonly string[]) => {
    try {
      return await runTool(tool, args, { namespace });
    } catch {
      return ""; // it is not installed, or it has nothing to say here
    }
  };
  const rules = await read("nft", ["-j", "list", "ruleset"]);
  // Asked of the old interface only where it is in use: to ask would load it.
  const usesLegacy = inNamespace(namespace, () => readText("/proc/net/ip_tables_names")) !== "";
  const save = usesLegacy ? await read("iptables-legacy-save", []) : "";
  const bridge = inNamespace(namespace, () =>
    readText("/proc/sys/net/bridge/bridge-nf-call-iptables"),
  );
  return {
    ...(namespace !== undefined && { namespace }),
    ruleset: rules === "" ? undefined : JSON.parse(rules),
    iptablesSave: save,
    bridgeCallsIptables: bridge.trim() === "1",
  };
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
