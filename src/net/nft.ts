/** Applies and reads nftables of a namespace. A script is one transaction: all of it, or nothing. */
import { z } from "zod";
import { runTool } from "./run-tool.ts";

/**
 * Applies a script in a namespace.
 *
 * @throws FabricError ERR_TOOL_FAILED with nft's last words; nothing has changed then
 */
export async function applyNft(namespace: string, script: string): Promise<void> {
  await runTool("nft", ["-f", "-"], { namespace, input: script });
}

const ListingSchema = z.object({ nftables: z.array(z.record(z.string(), z.unknown())) });

/** What nft lists as JSON: objects of one kind (`counter`, `set`, ...) of all tables. */
export async function listNft<T>(
  namespace: string,
  kind: string,
  schema: z.ZodType<T>,
): Promise<T[]> {
  const what = kind === "counter" ? ["counters"] : ["ruleset"];
  const text = await runTool("nft", ["-j", "list", ...what], { namespace });
  const { nftables } = ListingSchema.parse(JSON.parse(text));
  return nftables.flatMap((entry) => (kind in entry ? [schema.parse(entry[kind])] : []));
}

const CounterSchema = z.looseObject({
  family: z.string(),
  table: z.string(),
  name: z.string(),
  packets: z.number(),
  bytes: z.number(),
});

/** A named counter of a namespace. */
export interface NetworkCounter {
  /** Its table with the family: `bridge goalstate_overlay`. */
  readonly table: string;
  readonly name: string;
  readonly packets: number;
  readonly bytes: number;
}

/** All named counters of a namespace. Their names are made by this code and few; endpoints' carry VIP, protocol and port. */
export async function readNetworkCounters(namespace: string): Promise<NetworkCounter[]> {
  const counters = await listNft(namespace, "counter", CounterSchema);
  return counters.map(({ family, table, name, packets, bytes }) => ({
    table: `${family} ${table}`,
    name,
    packets,
    bytes,
  }));
}
