/** Configures links with iproute2's `ip`, whose batches apply many changes in one process. */
import { z } from "zod";
import { runTool } from "./run-tool.ts";

/**
 * Applies lines of `ip` commands in a namespace (undefined: this process's), all in one process, in order.
 *
 * @param mode - at the first line that fails: `stop` (the default), or `go-on` with the next
 * @throws FabricError ERR_TOOL_FAILED if a line failed
 */
export async function ipBatch(
  namespace: string | undefined,
  lines: readonly string[],
  mode: "stop" | "go-on" = "stop",
): Promise<void> {
  if (lines.length === 0) return;
  const force = mode === "go-on" ? ["-force"] : [];
  const input = `${lines.join("\n")}\n`;
  await runTool("ip", [...inside(namespace), ...force, "-batch", "-"], { input });
}

function inside(namespace: string | undefined): string[] {
  return namespace === undefined ? [] : ["-n", namespace];
}

const LinkSchema = z.array(
  z.looseObject({
    ifname: z.string(),
    ifindex: z.number(),
    link_index: z.number().optional(),
    flags: z.array(z.string()).default([]),
    linkinfo: z.looseObject({ info_kind: z.string().optional() }).optional(),
    addr_info: z
      .array(
        z.looseObject({
          family: z.string(),
          local: z.string().optional(),
          prefixlen: z.number().optional(),
        }),
      )
      .default([]),
  }),
);

/** A link as `ip` shows it. */
export interface Link {
  readonly name: string;
  readonly ifindex: number;
  /** Administratively up. */
  readonly isUp: boolean;
  /** `bridge`, `veth`, `tun`, ...; absent for hardware. */
  readonly kind: string | undefined;
  /** Of a veth: the other end's index, in that end's namespace. */
  readonly peerIndex: number | undefined;
  /** Addresses as ADDRESS/PREFIX. */
  readonly addresses: readonly string[];
}

/** All links of a namespace with their IPv4 addresses. */
export async function listLinks(namespace?: string): Promise<Link[]> {
  const text = await runTool("ip", [...inside(namespace), "-j", "-d", "addr", "show"]);
  return LinkSchema.parse(JSON.parse(text || "[]")).map((link) => ({
    name: link.ifname,
    ifindex: link.ifindex,
    isUp: link.flags.includes("UP"),
    kind: link.linkinfo?.info_kind,
    peerIndex: link.link_index,
    addresses: link.addr_info
      .filter(({ family }) => family === "inet")
      .map(({ local, prefixlen }) => `${local}/${prefixlen}`),
  }));
}

const NamespaceSchema = z.array(z.looseObject({ name: z.string() }));

/** The named network namespaces of this machine. */
export async function listNamespaces(): Promise<string[]> {
  const text = await runTool("ip", ["-j", "netns", "list"]);
  return NamespaceSchema.parse(JSON.parse(text.trim() || "[]")).map(({ name }) => name);
}
