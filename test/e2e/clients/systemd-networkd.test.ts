import { existsSync } from "node:fs";
import { describe, test } from "vitest";
import {
  canRunClients,
  liveThrough,
  makeClientNetwork,
  ROUTES,
  startMachine,
  TEST_TIMEOUT_MS,
} from "./client-network.ts";

const NETWORKD = "/lib/systemd/systemd-networkd";
const canRun = canRunClients && (process.env["CI"] !== undefined || existsSync(NETWORKD));

const PREPARE = `cd /run
mkdir -p systemd/netif/links systemd/netif/leases systemd/netif/lldp /etc/systemd/network
chown -R systemd-network:systemd-network systemd/netif
printf '[Match]\\nName=eth0\\n[Network]\\nDHCP=ipv4\\nLinkLocalAddressing=no\\n' >/etc/systemd/network/eth0.network`;

describe.skipIf(!canRun)("systemd-networkd (needs root, systemd and tshark)", () => {
  test(
    "takes a lease, renews it from a server started again, is refused when its address changed, releases",
    async () => {
      await using net = await makeClientNetwork();
      await using machine = await startMachine(net.network);
      await machine.startBus();
      machine.exec("sh", "-c", PREPARE);
      await liveThrough(net, machine, {
        start: ["env", "SYSTEMD_LOG_TARGET=console", NETWORKD],
        // It adds routes to the gateway and the name server.
        routes: ["10.77.0.0/16", "10.77.0.1", "10.77.0.53", ...ROUTES.slice(1)],
        renew: ["networkctl", "renew", "eth0"],
        // It releases when it ends; the kernel cuts its name.
        release: ["pkill", "-TERM", "-x", "systemd-network"],
      });
    },
    TEST_TIMEOUT_MS,
  );
});
