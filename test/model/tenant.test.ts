import { describe, expect, test } from "vitest";
import { parseTenant } from "../../src/model/tenant.ts";

const SUM = "0123456789ABCDEF0123456789ABCDEF01234567";
const MINIMAL = {
  tenant: "shop",
  vnet: { name: "net", addressSpace: "10.0.0.0/24" },
  roles: [{ name: "web" }],
};

/** The minimal tenant with parts of its first role replaced. */
const withRole = (role: object) => ({ ...MINIMAL, roles: [{ name: "web", ...role }] });
const parseRole = (role: object) => parseTenant(withRole(role), "t.yaml").roles[0]!;

describe("parseTenant()", () => {
  test("puts every default in", () => {
    const { recovery, stop, update, faultDomains, roles } = parseTenant(MINIMAL, "t.yaml");
    const policy = {
      ...{ retries: 3, moves: 2, backoffSeconds: 1, backoffMaxSeconds: 60 },
      ...{ stableSeconds: 60, readySeconds: 300, silenceSeconds: 60 },
    };
    expect({ recovery, stop, update, faultDomains }).toEqual({
      recovery: policy,
      stop: { agentSeconds: 30, acpiSeconds: 20 },
      update: { domains: 5, readySeconds: 600 },
      faultDomains: undefined,
    });
    expect(roles).toEqual([
      {
        ...{ name: "web", kind: "paas", instances: 1, size: { cpus: 1, memoryMib: 768 } },
        ...{ endpoints: [], settings: {}, certificates: [], recovery: policy },
        ...{ extensions: [], users: [], agent: { fastTrack: false, statusBlob: "block" } },
      },
    ]);
  });

  test("gives a role the tenant's recovery where it has none of its own", () => {
    const { roles } = parseTenant(
      { ...withRole({ recovery: { retries: 0 } }), recovery: { retries: 9, moves: 1 } },
      "t.yaml",
    );
    expect(roles[0]!.recovery).toMatchObject({ retries: 0, moves: 1, stableSeconds: 60 });
  });

  test("takes what it returned again, also through JSON", () => {
    const tenant = parseTenant(
      {
        ...withRole({
          image: "./disk.qcow2",
          recovery: { moves: 0 },
          certificates: [{ name: "tls", thumbprint: SUM }],
          endpoints: [
            { name: "site", protocol: "http", port: 8080, public: 80 },
            { name: "log", protocol: "udp", port: 514 },
          ],
        }),
        faultDomains: 3,
      },
      "t.yaml",
    );
    const again = parseTenant(JSON.parse(JSON.stringify(tenant)), "the request");
    expect(JSON.stringify(again)).toBe(JSON.stringify(tenant));
  });

  test("probes http by a path, tcp by a connection, udp not at all", () => {
    const probe = { intervalSeconds: 5, unhealthyAfter: 2 };
    const { endpoints } = parseRole({
      endpoints: [
        { name: "a", protocol: "http", port: 80 },
        { name: "b", port: 81, health: { intervalSeconds: 9 } },
        { name: "c", protocol: "udp", port: 82 },
      ],
    });
    expect(endpoints.map(({ health }) => health)).toEqual([
      { path: "/", ...probe },
      { ...probe, intervalSeconds: 9 },
      undefined,
    ]);
  });

  test.each([
    ["lower case", SUM.toLowerCase()],
    ["colons", SUM.replaceAll(/..(?!$)/g, "$&:")],
    ["spaces and an invisible mark", `\u200e${SUM.replaceAll(/..(?!$)/g, "$& ")}`],
  ])("reads a thumbprint with %s", (_what, thumbprint) => {
    const { certificates } = parseRole({ certificates: [{ name: "tls", thumbprint }] });
    expect(certificates).toEqual([{ name: "tls", thumbprint: SUM, store: "My" }]);
  });

  test("shares a public port between tcp and udp, and a port between endpoints", () => {
    const endpoints = [
      { name: "a", protocol: "udp", port: 53, public: 53 },
      { name: "b", protocol: "tcp", port: 53, public: 53 },
      { name: "c", protocol: "tcp", port: 53, public: 5353 },
    ];
    expect(parseRole({ endpoints }).endpoints).toHaveLength(3);
  });

  const endpoint = (parts: object) => withRole({ endpoints: [{ name: "e", port: 1, ...parts }] });
  const certificate = (parts: object) =>
    withRole({ certificates: [{ name: "c", thumbprint: SUM, ...parts }] });
  const twoRoles = (first: object, second: object) => ({
    ...MINIMAL,
    roles: [
      { name: "web", ...first },
      { name: "db", ...second },
    ],
  });
  const space = (addressSpace: string, instances = 1) => ({
    ...withRole({ instances }),
    vnet: { name: "net", addressSpace },
  });

  test.each([
    ["no role", { ...MINIMAL, roles: [] }, "roles: has no role; add one"],
    ["two roles of a name", { ...MINIMAL, roles: [{ name: "a" }, { name: "A" }] }, "roles[1].name"],
    [
      "a misspelt key",
      withRole({ instnaces: 2 }),
      "instnaces: is unknown; did you mean instances?",
    ],
    ["another key", withRole({ zone: 2 }), "roles[0].zone: is unknown; known here: name, kind"],
    [
      "a number as a setting",
      withRole({ settings: { N: 8 } }),
      "settings.N: is the number 8; write",
    ],
    ["a setting with =", withRole({ settings: { "a=b": "" } }), "may hold no control character"],
    ["a setting with a NUL", withRole({ settings: { a: "\0" } }), "settings.a: has a control char"],
    ["no instance", withRole({ instances: 0 }), "roles[0].instances: is 0; write at least 1"],
    ["1001 instances", withRole({ instances: 1001 }), "is 1001; write at most 1000"],
    ["half an instance", withRole({ instances: 1.5 }), "is 1.5; write a whole number"],
    ["a name as long as a label", withRole({ name: "w".repeat(62) }), "shorten it by 1"],
    ["another kind", withRole({ kind: "pass" }), 'kind: is "pass"; did you mean paas?'],
    ["a port of 0", endpoint({ port: 0 }), "endpoints[0].port: is 0; write at least 1"],
    [
      "a port of 65536",
      endpoint({ public: 65_536 }),
      "endpoints[0].public: is 65536; write at most",
    ],
    ["another protocol", endpoint({ protocol: "htpp" }), "did you mean http?"],
    ["a probe by udp", endpoint({ protocol: "udp", health: {} }), "health: is of a udp endpoint"],
    ["a path for tcp", endpoint({ health: { path: "/" } }), "health.path: is of a tcp endpoint"],
    [
      "endpoints of one name",
      withRole({
        endpoints: [
          { name: "a", port: 1 },
          { name: "a", port: 2 },
        ],
      }),
      "roles[0].endpoints[1].name: is the name of roles[0].endpoints[0] too",
    ],
    [
      "a public port that is used twice",
      twoRoles(
        { endpoints: [{ name: "a", protocol: "http", port: 1, public: 80 }] },
        { endpoints: [{ name: "b", protocol: "tcp", port: 2, public: 80 }] },
      ),
      "roles[1].endpoints[0].public: is the public port of endpoint a of role web too (tcp 80)",
    ],
    ["a thumbprint of 39 digits", certificate({ thumbprint: SUM.slice(1) }), "is no thumbprint"],
    ["a thumbprint that is none", certificate({ thumbprint: "g".repeat(40) }), "is no thumbprint"],
    ["a block of one address", space("10.0.0.0/32"), "10.0.0.0/32 has no address for a NIC"],
    ["a block beyond /8", space("0.0.0.0/0"), "is larger than /8"],
    [
      "the wire server's block",
      space("168.63.128.0/20"),
      "overlaps 168.63.129.16/32 (the wire serv",
    ],
    ["link-local", space("169.254.0.0/17"), "overlaps 169.254.0.0/16"],
    ["loopback", space("127.1.0.0/16"), "overlaps 127.0.0.0/8 (loopback)"],
    ["multicast", space("239.0.0.0/16"), "overlaps 224.0.0.0/4 (multicast)"],
    [
      "too many instances",
      space("10.0.0.0/29", 4),
      "has 3 addresses for NICs, and the roles have 4",
    ],
    ["a wait above its own limit", { ...MINIMAL, recovery: { backoffSeconds: 61 } }, "is 60, less"],
    ["too many domains", { ...MINIMAL, update: { domains: 21 } }, "is 21; write at most 20"],
    ["nothing", null, "t.yaml: (top): is empty; write an object"],
  ])("refuses %s, with place and fix", (_what, tenant, message) => {
    const attempt = () => parseTenant(tenant, "t.yaml");
    expect(attempt).toThrow(expect.objectContaining({ code: "ERR_USAGE_TENANT" }));
    expect(attempt).toThrow(message);
  });

  test("takes as many instances as the address space has room for", () => {
    expect(parseTenant(space("10.0.0.0/29", 3), "t.yaml").roles[0]!.instances).toBe(3);
    expect(() => parseTenant(space("10.0.0.0/28", 12), "t.yaml")).toThrow("use /27 or larger");
  });

  test("names every wrong place", () => {
    const tenant = { ...withRole({ instances: 0, kind: "x" }), vnet: {}, tenant: "-" };
    const attempt = () => parseTenant(tenant, "t.yaml");
    for (const place of ["tenant", "vnet.name", "vnet.addressSpace", "roles[0].instances"]) {
      expect(attempt).toThrow(`${place}: `);
    }
  });
});
