/** Flows that the kernel tracks in a VNET's namespace: those to public addresses, which were led to a guest. */
import { FabricError } from "../model/errors.ts";
import { findProgram } from "./find-program.ts";
import { runTool } from "./run-tool.ts";

/** A flow to a public address. */
export interface VipFlow {
  readonly protocol: string;
  /** The guest that it was led to. */
  readonly target: string;
  readonly port: number;
}

/**
 * Reads a line of `conntrack -L`: the original direction, then the reply's, which begins at the guest.
 *
 * @returns undefined for a line that is no flow with ports
 */
export function readFlow(line: string): VipFlow | undefined {
  const protocol = /^(\w+)/.exec(line)?.[1];
  const [, reply] = [...line.matchAll(/src=(\S+) dst=\S+ sport=(\d+) dport=\d+/g)];
  if (protocol === undefined || reply === undefined) return undefined;
  return { protocol, target: reply[1]!, port: Number(reply[2]) };
}

/** Forgets flows to public addresses: their next packet begins a new one, led to a guest that is ready. */
export async function forgetFlows(
  vnetNamespace: string,
  isStale: (flow: VipFlow) => boolean,
): Promise<void> {
  const text = await conntrack(vnetNamespace, ["-L", "-f", "ipv4", "--dst-nat"]);
  const stale = new Map<string, VipFlow>();
  for (const line of text.split("\n")) {
    const flow = readFlow(line);
    if (flow !== undefined && isStale(flow)) {
      stale.set(`${flow.protocol} ${flow.target} ${flow.port}`, flow);
    }
  }
  for (const { protocol, target, port } of stale.values()) {
    const filter = ["--reply-src", target, "--reply-port-src", String(port)];
    // It may have ended by itself meanwhile.
    await conntrack(vnetNamespace, ["-D", "-f", "ipv4", "-p", protocol, ...filter]).catch(() => "");
  }
}

async function conntrack(namespace: string, args: readonly string[]): Promise<string> {
  if (findProgram("conntrack", "/usr/bin") === undefined) {
    throw new FabricError(
      "ERR_TOOL_MISSING",
      "Cannot find conntrack; run tools/host-setup as root, which installs it",
    );
  }
  return runTool("ip", ["netns", "exec", namespace, "conntrack", ...args]);
}
