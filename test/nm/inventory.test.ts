import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeRoutes, OPTION, type OptionProfile } from "../../src/dhcp/index.ts";
import {
  formatIpv4,
  formatSubnet,
  type Ipv4Address,
  ipv4Plus,
  parseIpv4,
} from "../../src/model/ipv4-address.ts";
import { type MacAddress, macPlus, parseMac } from "../../src/model/mac-address.ts";
import { createInventoryResolver, inventoryWarnings, parseInventory } from "../../src/nm/index.ts";

const NETWORK = { subnet: "10.77.0.0/16", gateway: "10.77.0.1" };
const A = "00:0c:01:00:00:01";
const B = "00:0c:01:00:00:02";

/** Inventories beyond those of test/e2e/bad-input.test.ts, and the message behind `lab.yaml: `. */
const REFUSED: readonly (readonly [name: string, inventory: object, message: string])[] = [
  ["no network", {}, "network: is missing; write an object"],
  [
    "a gateway outside",
    { network: { subnet: "10.77.0.0/16", gateway: "10.78.0.1" } },
    "network.gateway: 10.78.0.1 is not a host address of 10.77.0.0/16",
  ],
  [
    "the network's own address",
    { network: NETWORK, nics: [{ mac: A, address: "10.77.0.0" }] },
    "nics[0]: address 10.77.0.0 is not a host address of 10.77.0.0/16 (network.subnet)",
  ],
  [
    "the broadcast address",
    { network: NETWORK, nics: [{ mac: A, address: "10.77.255.255" }] },
    "nics[0]: address 10.77.255.255 is not a host address of 10.77.0.0/16 (network.subnet)",
  ],
  [
    "a group MAC",
    { network: NETWORK, nics: [{ mac: "01:0c:01:00:00:01", address: "10.77.1.1" }] },
    "nics[0]: mac 01:0c:01:00:00:01 is a group address, no NIC has it",
  ],
  [
    "a MAC of zeros",
    { network: NETWORK, nics: [{ mac: "00:00:00:00:00:00", address: "10.77.1.1" }] },
    "nics[0]: mac 00:00:00:00:00:00 is all zero, no NIC has it",
  ],
  [
    "a range over the gateway",
    { network: NETWORK, ranges: [{ mac: A, address: "10.77.0.1", count: 9 }] },
    "ranges[0]: address 10.77.0.1 is the gateway's (network.gateway)",
  ],
  [
    "a range that leaves the subnet",
    { network: NETWORK, ranges: [{ mac: A, address: "10.77.255.250", count: 6 }] },
    "ranges[0]: address 10.77.255.255 is not a host address of 10.77.0.0/16 (network.subnet)",
  ],
  [
    "a range that leaves the MACs",
    { network: NETWORK, ranges: [{ mac: "fe:ff:ff:ff:ff:ff", address: "10.77.1.0", count: 0 }] },
    "ranges[0].count: is 0; write at least 1",
  ],
  [
    "ranges that share an address",
    {
      network: NETWORK,
      ranges: [
        { mac: A, address: "10.77.1.0", count: 10 },
        { mac: "00:0c:02:00:00:00", address: "10.77.1.9", count: 10 },
      ],
    },
    "ranges[1]: address 10.77.1.9 is taken by ranges[0] already; each address may be used once",
  ],
  [
    "a host with a NIC's MAC",
    {
      network: NETWORK,
      nics: [{ mac: A, address: "10.77.1.1" }],
      hosts: [{ mac: A, address: "10.77.1.2" }],
    },
    "hosts[0]: mac 00:0c:01:00:00:01 is taken by nics[0] already; each mac may be used once",
  ],
  [
    "two NICs of one container",
    {
      network: NETWORK,
      nics: [
        { mac: A, address: "10.77.1.1", container: "web" },
        { mac: B, address: "10.77.1.2", container: "web" },
      ],
    },
    "nics[1]: container web is nics[0]'s already; a container has one NIC",
  ],
  [
    "a lease below the minimum",
    { network: { ...NETWORK, leaseSeconds: 59 } },
    "network.leaseSeconds: is 59; write at least 60",
  ],
];

/** Option `code` of a profile, as every client gets it. */
function optionOf(profile: OptionProfile, code: number): Uint8Array | undefined {
  return profile.fixed.find((option) => option[0] === code)?.subarray(2);
}

function routesOf(profile: OptionProfile): string[] {
  const data = optionOf(profile, OPTION.classlessRoutes) ?? new Uint8Array();
  return (decodeRoutes(data) ?? []).map(
    ({ destination, gateway }) => `${formatSubnet(destination)} ${formatIpv4(gateway)}`,
  );
}

test("an inventory lists relay agents by address and by subnet", () => {
  const relays = ["192.0.2.7", "198.51.100.0/24"];
  const inventory = parseInventory({ network: NETWORK, relays }, "lab.yaml");
  expect(inventory.relays.map(formatSubnet)).toEqual(["192.0.2.7/32", "198.51.100.0/24"]);
  const wrong = { network: NETWORK, relays: ["198.51.100.1/24"] };
  expect(() => parseInventory(wrong, "lab.yaml")).toThrow("lab.yaml: relays[0]: ");
});

describe("parseInventory()", () => {
  for (const [name, inventory, message] of REFUSED) {
    test(`refuses ${name}`, () => {
      expect(() => parseInventory(inventory, "lab.yaml")).toThrow(`lab.yaml: ${message}`);
    });
  }

  test("accepts the README's inventory and fills the defaults", () => {
    const inventory = parseInventory({ network: NETWORK }, "lab.yaml");
    expect(inventory).toMatchObject({
      network: { dns: [], leaseSeconds: 86_400, mtu: 1500 },
      ...{ nics: [], ranges: [], hosts: [] },
    });
    expect(inventoryWarnings(inventory)).toEqual([]);
  });
});

describe("createInventoryResolver()", () => {
  test("a NIC inside a range keeps its address, the range's MAC for it gets none", () => {
    const inventory = parseInventory(
      {
        network: NETWORK,
        nics: [{ mac: "00:0c:09:00:00:01", address: "10.77.10.3", container: "web" }],
        ranges: [{ mac: "00:0c:01:00:00:00", address: "10.77.10.0", count: 10 }],
      },
      "lab.yaml",
    );
    expect(inventoryWarnings(inventory)).toEqual([
      "ranges[0]: address 10.77.10.3 is nics[0]'s; 00:0c:01:00:00:03 gets no answer",
    ]);
    const resolver = createInventoryResolver(inventory, { isGateway: true });
    expect(resolver.findByMac(parseMac("00:0c:09:00:00:01"))).toMatchObject({ container: "web" });
    expect(resolver.findByMac(parseMac("00:0c:01:00:00:03"))).toBeUndefined();
    expect(resolver.findByMac(parseMac("00:0c:01:00:00:04"))?.address).toBe(
      parseIpv4("10.77.10.4"),
    );
    expect(resolver.findNic(parseIpv4("10.77.10.3"))?.container).toBe("web");
  });

  test("MAC to address and address to MAC are inverse over ranges, and nothing is beside them", () => {
    const counts = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(counts, fc.integer({ min: 0, max: 3000 }), (sizes, offset) => {
        let address = parseIpv4("10.77.1.0");
        let mac = parseMac("00:0c:01:00:00:00");
        const ranges = sizes.map((count) => {
          const range = { mac, address, count };
          address = ipv4Plus(address, count + 1); // a gap of one after each
          mac = macPlus(mac, count + 2);
          return range;
        });
        const written = parseInventory({ network: NETWORK }, "lab.yaml");
        const inventory = { ...written, ranges: ranges.toReversed() };
        const resolver = createInventoryResolver(inventory, { isGateway: true });
        const probe = macPlus(parseMac("00:0c:01:00:00:00"), offset);
        const inside = ranges.find((r) => probe >= r.mac && probe < r.mac + r.count);
        const found = resolver.findByMac(probe);
        expect(found?.address).toBe(
          inside && ((inside.address + probe - inside.mac) as Ipv4Address),
        );
        if (found !== undefined) {
          const nic = resolver.findNic(found.address);
          expect(nic?.mac).toBe(probe as MacAddress);
          expect(nic?.container).toBe(found.container);
        }
      }),
    );
  });

  const nicWith = (network: object, isGateway: boolean): OptionProfile => {
    const inventory = parseInventory({ network, nics: [{ mac: A, address: "10.77.1.1" }] }, "lab");
    return createInventoryResolver(inventory, { isGateway }).findByMac(parseMac(A))!.profile;
  };

  test("the platform is behind the gateway if that is our own interface", () => {
    expect(routesOf(nicWith(NETWORK, true))).toEqual([
      "0.0.0.0/0 10.77.0.1",
      "168.63.129.16/32 10.77.0.1",
      "169.254.169.254/32 10.77.0.1",
    ]);
  });

  test("the platform is on the link if the gateway is somebody else's, or there is none", () => {
    const platform = ["168.63.129.16/32 0.0.0.0", "169.254.169.254/32 0.0.0.0"];
    expect(routesOf(nicWith(NETWORK, false))).toEqual(["0.0.0.0/0 10.77.0.1", ...platform]);
    expect(routesOf(nicWith({ subnet: "10.77.0.0/16" }, false))).toEqual(platform);
  });

  test("a NIC with a port is elsewhere on any interface that it is not behind", () => {
    const nics = [
      { mac: A, address: "10.77.1.1", port: "tap1" },
      { mac: B, address: "10.77.1.2" },
    ];
    const inventory = parseInventory({ network: NETWORK, nics }, "lab.yaml");
    const isBehind = (port: string, ifindex: number) => port === `tap${ifindex}`;
    const resolver = createInventoryResolver(inventory, { isGateway: true, isBehind });
    expect([1, 2].map((ifindex) => resolver.isElsewhere(parseMac(A), ifindex))).toEqual([
      false,
      true,
    ]);
    expect(resolver.isElsewhere(parseMac(B), 2)).toBe(false);
    // A replay knows no ports.
    const blind = createInventoryResolver(inventory, { isGateway: true });
    expect(blind.isElsewhere(parseMac(A), 2)).toBe(false);
  });

  test("a port has the form of an interface's name", () => {
    for (const port of ["", "a/b", "a b", "sixteencharacter"]) {
      const nics = [{ mac: A, address: "10.77.1.1", port }];
      expect(() => parseInventory({ network: NETWORK, nics }, "lab.yaml")).toThrow("nics[0].port");
    }
  });

  test("a physical host has its address but no wire server and no platform routes", () => {
    const inventory = parseInventory(
      { network: NETWORK, hosts: [{ mac: A, address: "10.77.0.9", hostname: "node-1" }] },
      "lab.yaml",
    );
    const resolver = createInventoryResolver(inventory, { isGateway: true });
    expect(resolver.findByMac(parseMac(A))).toBeUndefined();
    const host = resolver.findHost(parseMac(A));
    expect(host).toMatchObject({ address: parseIpv4("10.77.0.9"), hostname: "node-1" });
    expect(optionOf(host!.profile, OPTION.wireServer)).toBeUndefined();
    expect(routesOf(host!.profile)).toEqual([]);
    expect(resolver.findNic(parseIpv4("10.77.0.9"))).toBeUndefined();
  });
});
