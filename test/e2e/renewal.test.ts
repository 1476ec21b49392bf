/** The guest's own network stack: does a renewal, which it sends by unicast and through ARP, reach the server? */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { canMakeNamespaces, connect, ip, makeNamespace } from "../net/namespaces.ts";
import { payloadOf, renew } from "../scenarios/vocabulary.ts";
import { temporaryFolder } from "../temporary-folder.ts";
import { finish, GOALSTATE, run } from "./processes.ts";

const MAC = "00:0d:3a:01:02:03"; // M1 of the scenarios
const ADDRESS = "10.77.3.4";
const SERVER = "168.63.129.16";

/** Sends a message from the leased address and port 68, as systemd and NetworkManager renew; prints type and sender. */
const SEND = `
const socket = require("node:dgram").createSocket("udp4");
socket.on("message", (message, { address, port }) => {
  console.log(message[242], address, port);
  socket.close();
});
socket.bind(68, "${ADDRESS}", () => socket.send(Buffer.from(process.argv[1], "hex"), 67, "${SERVER}"));
setTimeout(() => process.exit(1), 5000).unref();
`;

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("a renewal (needs root)", () => {
  test.each([
    ["on the link", ["dev", "eth0"], SERVER],
    ["behind the gateway", ["via", "10.77.0.1"], "10.77.0.1"],
  ])(
    "S41 sid-arp-resolves: %s, the guest resolves it and is acknowledged by it",
    async (_where, route, neighbour) => {
      using host = makeNamespace("host");
      using guest = makeNamespace("guest");
      ip("-n", host.name, "link", "add", "name", "br0", "type", "bridge");
      ip("-n", host.name, "addr", "add", "10.77.0.1/16", "dev", "br0");
      ip("-n", host.name, "link", "set", "dev", "br0", "up");
      connect(host.name, "port0", guest.name, "eth0");
      ip("-n", host.name, "link", "set", "dev", "port0", "master", "br0");
      ip("-n", guest.name, "link", "set", "dev", "eth0", "address", MAC);
      ip("-n", guest.name, "addr", "add", `${ADDRESS}/16`, "dev", "eth0");
      ip("-n", guest.name, "route", "add", SERVER, ...route);
      const folder = temporaryFolder("renewal");
      const inventory = join(folder, "inventory.yaml");
      const network = "{ subnet: 10.77.0.0/16, gateway: 10.77.0.1 }";
      writeFileSync(
        inventory,
        `network: ${network}\nnics: [{ mac: "${MAC}", address: ${ADDRESS} }]\n`,
      );
      await using server = run(
        [GOALSTATE, "serve", "--interface", "br0", "--inventory", inventory, "--data", folder],
        host.name,
      );
      await server.says("ready");
      const hex = Buffer.from(payloadOf(renew(ADDRESS))).toString("hex");
      const { stdout } = await finish([process.execPath, "-e", SEND, hex], guest.name);
      expect(stdout).toBe(`5 ${SERVER} 67\n`); // DHCPACK, from the server identifier
      const bridge = /link\/ether (\S+)/.exec(
        ip("-n", host.name, "link", "show", "dev", "br0"),
      )?.[1];
      const resolved = ip("-n", guest.name, "neigh", "show", neighbour, "dev", "eth0");
      expect(resolved).toContain(`lladdr ${bridge}`);
    },
  );
});
