/** What the control socket answers about DHCP. */

import type { ControlRoutes } from "../control/control-server.ts";
import { readMacParameter } from "../control/mac-parameter.ts";
import { readCounters } from "./counters-document.ts";
import { explainClient } from "./explain.ts";
import type { DhcpNetworkView } from "./network-view.ts";

/** @param networks - those that are answered now */
export function dhcpRoutes(networks: () => readonly DhcpNetworkView[]): ControlRoutes {
  return (app) => {
    app.get<{ Params: { mac: string } }>("/v1/dhcp/explain/:mac", ({ params }) =>
      explainClient(networks(), readMacParameter(params.mac)),
    );
    app.get("/v1/dhcp/counters", () => readCounters(networks()));
  };
}
