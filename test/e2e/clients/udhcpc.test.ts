import { describe, expect, test } from "vitest";
import {
  canRunClients,
  liveThrough,
  makeClientNetwork,
  startMachine,
  TEST_TIMEOUT_MS,
} from "./client-network.ts";

describe.skipIf(!canRunClients)("udhcpc with Debian's script (needs root and tshark)", () => {
  test(
    "takes a lease, renews it from a server started again, is refused when its address changed, releases",
    async () => {
      await using net = await makeClientNetwork();
      await using machine = await startMachine(net.network);
      await liveThrough(net, machine, {
        // -A 1: it begins again one second after a refusal; 20 otherwise.
        start: ["udhcpc", "-i", "eth0", "-f", "-A", "1", "-s", "/etc/udhcpc/default.script"],
        // It ignores option 121 unless asked (-O 121), and Debian's script does not use it.
        routes: ["10.77.0.0/16", "default"],
        renew: ["pkill", "-USR1", "-x", "udhcpc"],
        release: ["pkill", "-USR2", "-x", "udhcpc"],
      });
      expect(machine.exec("cat", "/etc/resolv.conf")).toContain("nameserver 10.77.0.53");
    },
    TEST_TIMEOUT_MS,
  );
});
