/** Everything that a scrape is answered: DHCP, the process, the version; on the control socket and, if wanted, on TCP. */
import type { AddressInfo } from "node:net";
import type { FastifyInstance } from "fastify";
import type { Logger } from "pino";
import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import { FabricError } from "../../model/errors.ts";
import { type ControlRoutes, createControlApp } from "../control/control-server.ts";
import type { DhcpNetworkView } from "../dhcp/network-view.ts";
import { registerDhcpMetrics } from "./dhcp-metrics.ts";
import type { MetricsAddress } from "./metrics-address.ts";

/** How finely the event loop's delay is sampled, in milliseconds. */
const EVENT_LOOP_SAMPLE_MS = 10;

/**
 * Makes the registry: CPU, memory, event-loop delay and garbage collections of this process beside the DHCP counters.
 *
 * @param networks - those that are answered at the time of the scrape
 * @param wireProcess - absent where there is none
 */
export function createMetrics(
  version: string,
  networks: () => readonly DhcpNetworkView[],
  wireProcess?: { readonly restarts: number },
): Registry {
  const registry = new Registry();
  collectDefaultMetrics({
    register: registry,
    eventLoopMonitoringPrecision: EVENT_LOOP_SAMPLE_MS,
  });
  new Gauge({
    name: "goalstate_build_info",
    help: "1, with the version of goalstate as label.",
    labelNames: ["version"],
    registers: [registry],
  }).set({ version }, 1);
  registerDhcpMetrics(registry, networks);
  if (wireProcess !== undefined) registerWireProcess(registry, wireProcess);
  return registry;
}

function registerWireProcess(registry: Registry, wireProcess: { readonly restarts: number }): void {
  new Counter({
    name: "goalstate_wire_process_restarts_total",
    help: "How often the process that serves guests over HTTP ended and was started again.",
    registers: [registry],
    collect() {
      this.reset();
      this.inc(wireProcess.restarts);
    },
  });
}

/** `GET /metrics`: Prometheus text. */
export function metricsRoutes(registry: Registry): ControlRoutes {
  return (app) => {
    app.get("/metrics", async (_request, reply) =>
      reply.type(registry.contentType).send(await registry.metrics()),
    );
  };
}

/** Metrics on TCP. Disposing closes it. */
export interface MetricsServer extends AsyncDisposable {
  /** The one that was asked for, or that the kernel chose for 0. */
  readonly port: number;
}

/**
 * Serves `/metrics`, and nothing else, to whoever can reach the address.
 *
 * @throws FabricError ERR_METRICS_LISTEN if the address cannot be listened on
 */
export async function openMetricsServer(
  { host, port }: MetricsAddress,
  registry: Registry,
  log: Logger,
): Promise<MetricsServer> {
  const app: FastifyInstance = createControlApp([metricsRoutes(registry)], log);
  try {
    await app.listen({ host, port });
  } catch (cause) {
    await app.close();
    const message = `Cannot serve metrics on ${host} port ${port}`;
    throw new FabricError("ERR_METRICS_LISTEN", message, { cause });
  }
  const address = app.server.address() as AddressInfo;
  return {
    port: address.port,
    [Symbol.asyncDispose]: async () => {
      app.server.closeAllConnections();
      await app.close();
    },
  };
}
