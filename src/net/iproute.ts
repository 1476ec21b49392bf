/** Configures links with iproute2's `ip`, whose batches apply many changes in one process. */
import { execFile } from "node:child_process";
import { z } from "zod";
import { FabricError } from "../model/errors.ts";

const COMMAND_TIMEOUT_MS = 15_000;

/**
 * Runs a program without a shell and returns its standard output.
 *
 * @param input - written to its standard input
 * @throws FabricError ERR_NET_COMMAND with what it printed, or ERR_USAGE_MISSING_PROGRAM
 */
export function runProgram(
  program: string,
  args: readonly string[],
  input?: string,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { timeout: COMMAND_TIMEOUT_MS, maxBuffer: 16 * 1024 * 1024 };
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(programFailure(program, args, error, stderr));
    });
    child.stdin?.on("error", () => undefined); // it exited before it read: its exit code says why
    child.stdin?.end(input ?? "");
  });
}

function programFailure(
  program: string,
  args: readonly string[],
  error: Error & { code?: unknown },
  stderr: string,
): FabricError {
  if (error.code === "ENOENT") {
    const message = `"${program}" is not installed; run tools/host-setup`;
    return new FabricError("ERR_USAGE_MISSING_PROGRAM", message);
  }
  const said = stderr.trim().replaceAll(/\s*\n\s*/g, "; ") || error.message;
  return new FabricError("ERR_NET_COMMAND", `${[program, ...args].join(" ")}: ${said}`);
}

/** Applies lines of `ip` commands in a namespace (undefined: this process's), all in one process, in order. */
export async function ipBatch(
  namespace: string | undefined,
  lines: readonly string[],
): Promise<void> {
  if (lines.length === 0) return;
  await runProgram("ip", [...inside(namespace), "-batch", "-"], `${lines.join("\n")}\n`);
}

function inside(namespace: string | undefined): string[] {
  return namespace === undefined ? [] : ["-n", namespace];
}

const LinkSchema = z.array(
  z.looseObject({
    ifname: z.string(),
    ifindex: z.number(),
    flags: z.array(z.string()).default([]),
    linkinfo: z.looseObject({ info_kind: z.string().optional() }).optional(),
    addr_info: z
      .array(z.looseObject({ local: z.string().optional(), prefixlen: z.number().optional() }))
      .optional(),
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
  /** Addresses as ADDRESS/PREFIX. */
  readonly addresses: readonly string[];
}

/** All links of a namespace with their IPv4 addresses. */
export async function listLinks(namespace?: string): Promise<Link[]> {
  const text = await runProgram("ip", [...inside(namespace), "-4", "-j", "-d", "addr", "show"]);
  const all = await runProgram("ip", [...inside(namespace), "-j", "-d", "link", "show"]);
  const addresses = new Map(
    LinkSchema.parse(JSON.parse(text || "[]")).map((link) => [link.ifname, link.addr_info ?? []]),
  );
  return LinkSchema.parse(JSON.parse(all || "[]")).map((link) => ({
    name: link.ifname,
    ifindex: link.ifindex,
    isUp: link.flags.includes("UP"),
    kind: link.linkinfo?.info_kind,
    addresses: (addresses.get(link.ifname) ?? []).map((a) => `${a.local}/${a.prefixlen}`),
  }));
}

const NamespaceSchema = z.array(z.looseObject({ name: z.string() }));

/** The named network namespaces of this machine. */
export async function listNamespaces(): Promise<string[]> {
  const text = await runProgram("ip", ["-j", "netns", "list"]);
  return NamespaceSchema.parse(JSON.parse(text.trim() || "[]")).map(({ name }) => name);
}
