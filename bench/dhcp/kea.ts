/** Kea's DHCPv4 server, with the options that ours sends, in several configurations: the best one is compared. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type Network,
  SERVER_ADDRESS,
  SERVER_INTERFACE,
  type Server,
  startServer,
} from "./processes.ts";

export const KEA = "/usr/sbin/kea-dhcp4";
const ROUTES = "000a40000120a83f81100a40000120a9fea9fe0a400001";
const CLIENTS = 50_000;

/** One way to set Kea up for 50,000 clients. */
export interface KeaVariant {
  readonly name: string;
  readonly clients: "pool" | "reservations" | "global reservations";
  /** 0: no multi-threading. */
  readonly threads: number;
  /** Reuses a lease that is young, as Kea 1.9 and later can. */
  readonly leaseCache: boolean;
}

export const KEA_VARIANTS: readonly KeaVariant[] = [
  { name: "pool, 1 thread", clients: "pool", threads: 0, leaseCache: false },
  { name: "pool, 2 threads", clients: "pool", threads: 2, leaseCache: false },
  { name: "pool, 2 threads, lease cache", clients: "pool", threads: 2, leaseCache: true },
  { name: "pool, 4 threads, lease cache", clients: "pool", threads: 4, leaseCache: true },
  { name: "reservations, 2 threads", clients: "reservations", threads: 2, leaseCache: true },
  {
    name: "global reservations, 2 threads",
    clients: "global reservations",
    threads: 2,
    leaseCache: true,
  },
];

export function findKeaVersion(): string | undefined {
  return existsSync(KEA) ? execFileSync(KEA, ["-v"], { encoding: "utf8" }).trim() : undefined;
}

export async function startKea(
  network: Network,
  folder: string,
  variant: KeaVariant,
  socketType: "raw" | "udp",
): Promise<Server> {
  mkdirSync(folder, { recursive: true });
  const config = join(folder, "kea.json");
  writeFileSync(config, JSON.stringify(configOf(variant, socketType)));
  const isReady = () => listensOnPort67(network.host);
  const env = {
    KEA_PIDFILE_DIR: folder,
    KEA_LOCKFILE_DIR: "none",
    KEA_LOGGER_DESTINATION: "stderr",
  };
  return startServer(network.host, [KEA, "-c", config], join(folder, "kea.log"), isReady, env);
}

/** In raw mode as well Kea holds a UDP socket on its port. */
function listensOnPort67(namespace: string): boolean {
  const text = execFileSync("ip", ["netns", "exec", namespace, "cat", "/proc/net/udp"], {
    encoding: "utf8",
  });
  return text.includes(":0043 ");
}

function configOf({ clients, threads, leaseCache }: KeaVariant, socketType: "raw" | "udp"): object {
  const reservations = clients === "pool" ? [] : Array.from({ length: CLIENTS }, reservation);
  const isGlobal = clients === "global reservations";
  const always = (code: number, name: string, data: string) => ({
    ...{ code, name, data, "csv-format": false, "always-send": true },
  });
  const subnet = {
    id: 1,
    subnet: "10.64.0.0/12",
    pools: clients === "pool" ? [{ pool: "10.64.1.0 - 10.64.200.255" }] : [],
    ...(clients === "reservations" && { reservations }),
  };
  const Dhcp4 = {
    "interfaces-config": { interfaces: [SERVER_INTERFACE], "dhcp-socket-type": socketType },
    "lease-database": { type: "memfile", persist: false, "lfc-interval": 0 },
    "expired-leases-processing": { "reclaim-timer-wait-time": 0 },
    "valid-lifetime": 86_400,
    "renew-timer": 43_200,
    "rebind-timer": 75_600,
    ...(leaseCache && { "cache-threshold": 0.25 }),
    "option-def": [
      { name: "microsoft-routes", code: 249, type: "binary" },
      { name: "wire-server", code: 245, type: "binary" },
    ],
    "option-data": [
      { name: "routers", data: SERVER_ADDRESS },
      { name: "domain-name-servers", data: SERVER_ADDRESS },
      always(121, "classless-static-route", ROUTES),
      always(249, "microsoft-routes", ROUTES),
      always(245, "wire-server", "a83f8110"),
    ],
    "multi-threading":
      threads === 0
        ? { "enable-multi-threading": false }
        : {
            "enable-multi-threading": true,
            "thread-pool-size": threads,
            "packet-queue-size": 64 * threads,
          },
    "host-reservation-identifiers": ["hw-address"],
    "match-client-id": false,
    "reservations-global": isGlobal,
    "reservations-in-subnet": clients === "reservations",
    "reservations-out-of-pool": clients === "reservations",
    ...(isGlobal && { reservations }),
    subnet4: [subnet],
    loggers: [{ name: "kea-dhcp4", severity: "ERROR", output_options: [{ output: "stderr" }] }],
  };
  return { Dhcp4 };
}

function reservation(_: unknown, index: number): object {
  const octets = [index >> 16, (index >> 8) & 255, index & 255];
  const mac = octets.map((octet) => octet.toString(16).padStart(2, "0")).join(":");
  const address = `10.64.${1 + (index >> 8)}.${index & 255}`;
  return { "hw-address": `00:0c:01:${mac}`, "ip-address": address };
}
