import { describe, test } from "vitest";
import {
  canRunClients,
  liveThrough,
  makeClientNetwork,
  ROUTES,
  startMachine,
  TEST_TIMEOUT_MS,
} from "./client-network.ts";

describe.skipIf(!canRunClients)("dhcpcd as Debian configures it (needs root and tshark)", () => {
  test(
    "takes a lease, renews it from a server started again, is refused when its address changed, releases",
    async () => {
      await using net = await makeClientNetwork();
      await using machine = await startMachine(net.network);
      await liveThrough(net, machine, {
        start: ["dhcpcd", "-4", "-B", "eth0"],
        routes: ROUTES,
        renew: ["dhcpcd", "-4", "-N", "eth0"],
        release: ["dhcpcd", "-4", "-k", "eth0"],
      });
    },
    TEST_TIMEOUT_MS,
  );
});
