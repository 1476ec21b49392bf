/** Starts `demo` on network namespaces and looks at what it makes. */
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ip } from "../net/namespaces.ts";
import { finish, GOALSTATE } from "./processes.ts";

const EXAMPLE = join(import.meta.dirname, "../../examples/hello");
/** What it prints when all is Ready. */
export const UP = "up; Ctrl-C stops";
const WEB = "http://10.20.0.4:8080/";

/** Writes a tenant like the example's with another name and greeting; returns its path. */
export function writeTenant(
  folder: string,
  tenant: string,
  change = (text: string) => text,
): string {
  const text = readFileSync(join(EXAMPLE, "tenant.yaml"), "utf8");
  cpSync(join(EXAMPLE, "app"), join(folder, "app"), { recursive: true });
  const path = join(folder, `${tenant}.yaml`);
  const named = text
    .replace("tenant: hello", `tenant: ${tenant}`)
    .replace("hello from goalstate", `greetings from ${tenant}`);
  writeFileSync(path, change(named));
  return path;
}

/** The command line. */
export function demo(data: string, ...args: string[]): string[] {
  return [GOALSTATE, "demo", "--hypervisor", "netns", "--data", data, "--timeout", "45", ...args];
}

/** The namespaces of the fabric with this data folder. */
export function namespacesOf(data: string): string[] {
  const id = readFileSync(join(data, "fabric-id"), "utf8").trim();
  const all = ip("netns", "list").match(/^[\w.-]+/gm) ?? [];
  return all.filter((name) => name.startsWith(`gs-${id}-`)).sort();
}

/** What a web server says to somebody in a namespace, or why it says nothing. */
export async function fetchIn(namespace: string, url = WEB): Promise<string> {
  const script = `fetch(${JSON.stringify(url)}, { signal: AbortSignal.timeout(3000) })
    .then((r) => r.text())
    .then(console.log, (error) => console.log("silence:", error.cause?.code ?? error.name))
    .then(() => process.exit())`;
  const { stdout, stderr } = await finish([process.execPath, "-e", script], namespace);
  return stdout || stderr;
}
