import { describe, test } from "vitest";
import {
  canRunClients,
  liveThrough,
  makeClientNetwork,
  ROUTES,
  startMachine,
  TEST_TIMEOUT_MS,
} from "./client-network.ts";

/**
 * It has the address before its hooks have ended, and a signal that comes meanwhile it may take too late. Nor do we need
 * its exit code, which is 1 if it took longer than ten seconds to end.
 */
const RELEASE =
  "while pgrep -f '[d]hcpcd-run-hooks' >/dev/null; do sleep 0.1; done; dhcpcd -4 -k eth0 || true";

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
        release: ["sh", "-c", RELEASE],
      });
    },
    TEST_TIMEOUT_MS,
  );
});
