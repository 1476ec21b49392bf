/** A namespace where `serve` runs and one with clients, joined by a veth; both go when the test ends. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect, ip, makeNamespace } from "../net/namespaces.ts";
import { temporaryFolder } from "../temporary-folder.ts";
import { GOALSTATE, type Running, run } from "./processes.ts";

export const NETWORK =
  "network: { subnet: 10.77.0.0/16, gateway: 10.77.0.1, dns: [10.77.0.53], leaseSeconds: 86400 }";
export const INTERFACE = "served";
export const SERVER_ADDRESS = "10.77.0.1";

export interface ServeNetwork extends Disposable {
  readonly host: string;
  readonly client: string;
  readonly folder: string;
  /** The command that serves an inventory here. */
  command(inventory: string): string[];
  /** Serves an inventory; resolves when it is ready. */
  serve(inventory: string): Promise<Running>;
  /** Addresses of the served interface as ADDRESS/PREFIX. */
  addresses(): string[];
}

/** @param clientMac - of the client's `eth0` */
export function makeServeNetwork(clientMac: string): ServeNetwork {
  const stack = new DisposableStack();
  const host = stack.use(makeNamespace("host")).name;
  const client = stack.use(makeNamespace("client")).name;
  const folder = temporaryFolder("serve");
  connect(host, INTERFACE, client, "eth0");
  ip("-n", host, "addr", "add", `${SERVER_ADDRESS}/16`, "dev", INTERFACE);
  ip("-n", client, "link", "set", "dev", "eth0", "address", clientMac);
  const command = (inventory: string) => {
    const path = join(folder, "inventory.yaml");
    writeFileSync(path, inventory);
    const data = join(folder, "data");
    return [GOALSTATE, "serve", "--interface", INTERFACE, "--inventory", path, "--data", data];
  };
  return {
    host,
    client,
    folder,
    command,
    serve: async (inventory) => {
      const server = run(command(inventory), host);
      await server.says("ready\n");
      return server;
    },
    addresses: () => {
      const text = ip("-n", host, "-4", "addr", "show", "dev", INTERFACE);
      return [...text.matchAll(/inet (\S+)/g)].map(([, address]) => address!).sort();
    },
    [Symbol.dispose]: () => stack.dispose(),
  };
}

/** Writes an executable script that writes its environment to a file; returns both paths. */
export function environmentScript(folder: string, name: string, when: string) {
  const output = join(folder, `${name}.env`);
  const script = join(folder, `${name}.sh`);
  writeFileSync(script, `#!/bin/sh\n${when} && env > ${output}\nexit 0\n`, { mode: 0o755 });
  return { script, output };
}

/** KEY=VALUE lines as an object. */
export function parseEnvironment(text: string): Record<string, string> {
  return Object.fromEntries(
    text.split("\n").flatMap((line) => {
      const at = line.indexOf("=");
      return at < 0 ? [] : [[line.slice(0, at), line.slice(at + 1)]];
    }),
  );
}
