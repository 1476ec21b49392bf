import { describe, test } from "vitest";
import {
  canRunClients,
  liveThrough,
  MOVED,
  makeClientNetwork,
  ROUTES,
  startMachine,
  TEST_TIMEOUT_MS,
} from "./client-network.ts";

/** It has no command that renews, so it is told to renew soon, whatever the server says. */
const SOON = "supersede dhcp-renewal-time 10; supersede dhcp-rebinding-time 3600;";
/** It has the address before the lease is in the file that it releases from. */
const RELEASE = `until grep -q ${MOVED} /var/lib/dhcp/dhclient.leases; do sleep 0.1; done; dhclient -4 -r eth0`;

describe.skipIf(!canRunClients)("dhclient as Debian configures it (needs root and tshark)", () => {
  test(
    "takes a lease, renews it from a server started again, is refused when its address changed, releases",
    async () => {
      await using net = await makeClientNetwork();
      await using machine = await startMachine(net.network);
      machine.exec("sh", "-c", `echo '${SOON}' >>/etc/dhcp/dhclient.conf`);
      await liveThrough(net, machine, {
        start: ["dhclient", "-4", "-d", "eth0"],
        routes: ROUTES,
        release: ["sh", "-c", RELEASE],
      });
    },
    TEST_TIMEOUT_MS,
  );
});
