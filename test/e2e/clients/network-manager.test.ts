import { existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  ADDRESS,
  canRunClients,
  inventory,
  MOVED,
  makeClientNetwork,
  ROUTES,
  startMachine,
  UNPACKED,
} from "./client-network.ts";

const ROOT = `${UNPACKED}/network-manager`;
const canRun = canRunClients && (process.env["CI"] !== undefined || existsSync(ROOT));
/** Each package is in a folder of its own. */
const LIBRARIES = `LD_LIBRARY_PATH=${["libnm0", "libndp0"]
  .map((name) => `${UNPACKED}/${name}/usr/lib/x86_64-linux-gnu`)
  .join(":")}`;
/** Renewals come after 30 s: no command asks for one. */
const NETWORK =
  "network: { subnet: 10.77.0.0/16, gateway: 10.77.0.1, dns: [10.77.0.53], leaseSeconds: 60 }";

const PREPARE = `mkdir -p /var/lib/NetworkManager
cp -r ${ROOT}/etc/NetworkManager /etc/
cp ${ROOT}/usr/share/dbus-1/system.d/org.freedesktop.NetworkManager.conf /etc/dbus-1/system.d/
cd /etc/NetworkManager/system-connections
printf '[connection]\\nid=eth0\\ntype=ethernet\\ninterface-name=eth0\\n[ipv4]\\nmethod=auto\\n[ipv6]\\nmethod=disabled\\n' >eth0.nmconnection
chmod 600 eth0.nmconnection`;

describe.skipIf(!canRun)(
  "NetworkManager's own client (needs root, tshark and tools/host-setup)",
  () => {
    test("renews from a server started again, is refused in a renewal and when it comes back with its old lease", async () => {
      await using net = await makeClientNetwork();
      await using machine = await startMachine(net.network);
      machine.exec("sh", "-c", PREPARE);
      await machine.startBus();
      await net.serve(inventory(ADDRESS, NETWORK));
      machine.run("env", LIBRARIES, `${ROOT}/usr/sbin/NetworkManager`, "--no-daemon");
      const said = (address: string) => [
        ...["DISCOVER", `OFFER ${address}`, `REQUEST selecting ${address}`, `ACK ${address}`],
      ];
      const conversation = said(ADDRESS);
      await net.hears(conversation);
      await machine.has(ADDRESS);
      await expect.poll(machine.routes).toEqual(ROUTES);

      await net.serve(inventory(ADDRESS, NETWORK));
      conversation.push(`REQUEST renewing ${ADDRESS}`, `ACK ${ADDRESS}`);
      await net.hears(conversation);

      await net.reload(inventory(MOVED, NETWORK));
      conversation.push(`REQUEST renewing ${ADDRESS}`, `NAK to ${ADDRESS}`, "NAK", ...said(MOVED));
      await net.hears(conversation);
      await machine.has(MOVED);

      await net.serve(inventory(ADDRESS, NETWORK));
      machine.exec("env", LIBRARIES, `${ROOT}/usr/bin/nmcli`, "device", "up", "eth0");
      conversation.push(`REQUEST init-reboot ${MOVED}`, "NAK", ...said(ADDRESS));
      await net.hears(conversation);
      await machine.has(ADDRESS);
      await net.check();
    }, 200_000);
  },
);
