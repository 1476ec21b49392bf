import { chmodSync, copyFileSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { canMakeNamespaces, ip, makeNamespace } from "../net/namespaces.ts";
import { temporaryFolder } from "../temporary-folder.ts";
import { finish, GOALSTATE, run } from "./processes.ts";

const HELLO = join(import.meta.dirname, "../../examples/hello/tenant.yaml");
const NETWORK = "network: { subnet: 10.77.0.0/16, gateway: 10.77.0.1 }";
const A = 'mac: "00:0c:01:00:00:01"';
const B = 'mac: "00:0c:01:00:00:02"';

/** Every inventory that is refused: its text, and what the one line says behind the file's name. */
const INVENTORIES: readonly (readonly [name: string, text: string, line: string])[] = [
  [
    "a duplicate MAC",
    `${NETWORK}\nnics: [{ ${A}, address: 10.77.1.1 }, { ${A}, address: 10.77.1.2 }]`,
    ":2:58: nics[1]: mac 00:0c:01:00:00:01 is taken by nics[0] already; each mac may be used once",
  ],
  [
    "a duplicate address",
    `${NETWORK}\nnics: [{ ${A}, address: 10.77.1.1 }, { ${B}, address: 10.77.1.1 }]`,
    ":2:58: nics[1]: address 10.77.1.1 is taken by nics[0] already; each address may be used once",
  ],
  [
    "an address outside the subnet",
    `${NETWORK}\nnics: [{ ${A}, address: 10.78.1.1 }]`,
    ":2:8: nics[0]: address 10.78.1.1 is not a host address of 10.77.0.0/16 (network.subnet)",
  ],
  [
    "the gateway's address",
    `${NETWORK}\nnics: [{ ${A}, address: 10.77.0.1 }]`,
    ":2:8: nics[0]: address 10.77.0.1 is the gateway's (network.gateway)",
  ],
  [
    "a subnet with host bits",
    "network: { subnet: 10.77.1.0/16 }",
    ':1:20: network.subnet: "10.77.1.0/16" has host bits set; the subnet is 10.77.0.0/16',
  ],
  [
    "a MAC that is none",
    `${NETWORK}\nnics: [{ mac: "00:0c:01", address: 10.77.1.1 }]`,
    ':2:15: nics[0].mac: "00:0c:01" is not a MAC address; write it as 00:0d:3a:01:02:03',
  ],
  ["an unknown key", `${NETWORK}\nnicz: []`, ":2:1: nicz: is unknown; did you mean nics?"],
  ["no YAML", `${NETWORK}\nnics: [`, ":3:1: Flow sequence in block collection must"],
  ["a key that is written twice", `${NETWORK}\n${NETWORK}`, ":2:1: Map keys must be unique"],
  [
    "a range that runs out of the subnet",
    `${NETWORK}\nranges: [{ ${A}, address: 10.77.255.0, count: 256 }]`,
    ":2:10: ranges[0]: address 10.77.255.255 is not a host address of 10.77.0.0/16 (network.subnet)",
  ],
  [
    "a wrong setting of a plugin",
    `${NETWORK}\nchain: [hardware, nm, { plugin: log, settings: { rate: -1 } }]`,
    ": chain[2].settings.rate (log): Too small: expected number to be >=0.01",
  ],
  [
    "a plugin that cannot be loaded",
    `${NETWORK}\nchain: [nm, { path: ./none.mjs }]`,
    ": chain[1] (./none.mjs): the plugin cannot be loaded: there is no such file",
  ],
  ["nothing", "", ":1:1: (top): is empty; write an object"],
];

/** What `serve` may change, to see that nothing was left behind. */
function footprint(namespace: string): string {
  return ip("-n", namespace, "-o", "addr") + ip("-n", namespace, "route");
}

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("serve with bad input (root)", () => {
  for (const [name, text, line] of INVENTORIES) {
    test(`${name} is one line that names the place, exit 2, nothing left`, async () => {
      using host = makeNamespace("bad");
      const folder = temporaryFolder("bad");
      const path = join(folder, "inventory.yaml");
      writeFileSync(path, `${text}\n`);
      const before = footprint(host.name);
      const { code, stdout, stderr } = await finish(
        [GOALSTATE, "serve", "--interface", "lo", "--inventory", path, "--data", folder],
        host.name,
      );
      expect([code, stdout]).toEqual([2, ""]);
      expect(stderr.startsWith(`goalstate: ${path}${line}`)).toBe(true);
      expect(stderr.trimEnd().split("\n")).toHaveLength(1);
      expect(footprint(host.name)).toBe(before);
    });
  }
});

/** Wrong command lines: arguments, exit code, and what the one line of standard error begins with. */
const COMMANDS: readonly (readonly [args: readonly string[], code: number, line: string])[] = [
  [["serve"], 2, "goalstate: required option '--interface <name>' not specified"],
  [["serve", "--interface", "lo"], 2, "goalstate: required option '--inventory <file>' not"],
  [["demo", "--exit-when-redy"], 2, "goalstate: unknown option '--exit-when-redy'"],
  [["demo", "--timeout", "0"], 2, "goalstate: option '--timeout <seconds>' argument '0' is"],
  [
    ["serve", "--interface", "lo", "--inventory", "/none"],
    2,
    "goalstate: Cannot read /none: ENOENT",
  ],
  [
    ["serve", "--interface", "tap[0", "--inventory", "/none"],
    2,
    'goalstate: --interface "tap[0" is not the name of an interface, nor a pattern such as',
  ],
  [
    ["serve", "--interface", "lo", "--inventory", "/none", "--ring-frames", "31"],
    2,
    "goalstate: option '--ring-frames <count>' argument '31' is invalid",
  ],
  [["frobnicate"], 2, "goalstate: unknown command 'frobnicate'"],
  [["demo", "--hypervisor", "xen"], 2, "goalstate: option '--hypervisor <kind>' argument 'xen' is"],
  [["demo", "--timeout", "soon"], 2, "goalstate: option '--timeout <seconds>' argument 'soon' is"],
  [["demo", "/none.yaml"], 2, "goalstate: Cannot read /none.yaml: ENOENT"],
];

describe("wrong usage", () => {
  for (const [args, want, line] of COMMANDS) {
    test(`goalstate ${args.join(" ")}`, async () => {
      const { code, stdout, stderr } = await finish([GOALSTATE, ...args]);
      expect([code, stdout]).toEqual([want, ""]);
      expect(stderr.startsWith(line)).toBe(true);
      expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    });
  }

  test("two tenant files with one name name each other, and nothing is made", async () => {
    const folder = temporaryFolder("tenant");
    const [a, b, data] = [join(folder, "a.yaml"), join(folder, "b.yaml"), join(folder, "d")];
    for (const path of [a, b]) copyFileSync(HELLO, path);
    const { code, stdout, stderr } = await finish([GOALSTATE, "demo", a, b, "--data", data]);
    expect([code, stdout, existsSync(data)]).toEqual([2, "", false]);
    expect(stderr).toBe(
      `goalstate: ${b}: tenant hello is in ${a} already; give each tenant a name of its own\n`,
    );
  });

  test("a tenant file with errors names all of them, one a line", async () => {
    const path = join(temporaryFolder("tenant"), "tenant.yaml");
    writeFileSync(path, "tenant: a b\nvnet: { name: v, addressSpace: 10.0.0.0 }\nroles: []\n");
    const { code, stderr } = await finish([GOALSTATE, "demo", path]);
    expect(code).toBe(2);
    expect(stderr).toBe(
      `goalstate: ${path}:1:9: tenant: may hold letters, digits and inner hyphens only, for example web\n` +
        `${path}:2:32: vnet.addressSpace: "10.0.0.0" is not a subnet; write it as 10.77.0.0/16\n` +
        `${path}:3:8: roles: has no role; add one, for example { name: web }\n`,
    );
  });
});

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("the machine refuses (root)", () => {
  test("an interface that is missing", async () => {
    const folder = temporaryFolder("missing");
    const path = join(folder, "inventory.yaml");
    writeFileSync(path, `${NETWORK}\n`);
    const { code, stderr } = await finish([
      GOALSTATE,
      "serve",
      "--interface",
      "nosuch0",
      "--inventory",
      path,
      "--data",
      folder,
    ]);
    const line =
      "goalstate: --interface nosuch0: there is no such interface; 'ip link' lists them\n";
    expect([code, stderr]).toEqual([2, line]);
  });

  test("an interface that is down", async () => {
    using host = makeNamespace("down");
    ip("-n", host.name, "link", "add", "name", "br9", "type", "bridge");
    const folder = temporaryFolder("down");
    const path = join(folder, "inventory.yaml");
    writeFileSync(path, `${NETWORK}\n`);
    const { code, stderr } = await finish(
      [GOALSTATE, "serve", "--interface", "br9", "--inventory", path, "--data", folder],
      host.name,
    );
    const line = "goalstate: --interface br9 is down; bring it up with 'ip link set br9 up'\n";
    expect([code, stderr]).toEqual([2, line]);
  });

  test("another process serves the wire server's port", async () => {
    using host = makeNamespace("taken");
    ip("-n", host.name, "addr", "add", "168.63.129.16/32", "dev", "lo");
    const folder = temporaryFolder("taken");
    const path = join(folder, "inventory.yaml");
    writeFileSync(path, `${NETWORK}\n`);
    const listen =
      'require("node:net").createServer().listen(80, "168.63.129.16", () => console.log("up"))';
    await using holder = run([process.execPath, "-e", listen], host.name);
    await holder.says("up");
    const before = footprint(host.name);
    const { code, stderr } = await finish(
      [GOALSTATE, "serve", "--interface", "lo", "--inventory", path, "--data", folder],
      host.name,
    );
    expect(code).toBe(1);
    expect(stderr).toContain("goalstate: Cannot listen on 168.63.129.16:80: another process does");
    expect(footprint(host.name)).toBe(before);
  });

  test("a second one on the same data folder, which leaves the first alone", async () => {
    using host = makeNamespace("second");
    const folder = temporaryFolder("second");
    const path = join(folder, "inventory.yaml");
    writeFileSync(path, `${NETWORK}\n`);
    const command = [GOALSTATE, "serve", "--interface", "lo", "--inventory", path];
    await using first = run([...command, "--data", folder], host.name);
    await first.says("ready\n");
    const before = footprint(host.name);
    const { code, stdout, stderr } = await finish([...command, "--data", folder], host.name);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toBe(
      `goalstate: The store ${folder}/fabric.sqlite is in use by another goalstate; ` +
        "stop that one or choose another data folder: database is locked\n",
    );
    expect(footprint(host.name)).toBe(before);
    first.kill("SIGTERM");
    expect(await first.ended).toBe(0);
  });

  test("a data folder that cannot be made", async () => {
    using host = makeNamespace("nodata");
    const path = join(temporaryFolder("nodata"), "inventory.yaml");
    writeFileSync(path, `${NETWORK}\n`);
    const before = footprint(host.name);
    const data = join(path, "d"); // below a file
    const { code, stderr } = await finish(
      [GOALSTATE, "serve", "--interface", "lo", "--inventory", path, "--data", data],
      host.name,
    );
    expect(code).toBe(2);
    expect(stderr).toMatch(
      new RegExp(`^goalstate: Cannot make the data folder ${data}; name another with --data.*\n$`),
    );
    expect(footprint(host.name)).toBe(before);
  });

  for (const [name, ...args] of [
    ["serve", "--interface", "lo", "--inventory"],
    ["demo", "--hypervisor", "netns"],
  ] as const) {
    test(`${name} without privilege`, async () => {
      const folder = temporaryFolder("unprivileged");
      chmodSync(folder, 0o777);
      const path = join(folder, "inventory.yaml");
      writeFileSync(path, `${NETWORK}\n`);
      const drop = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
      const file = name === "serve" ? [path] : [];
      // The checkout may lie in a folder that only root may enter: its capability to read is kept.
      const read = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"];
      const { code, stderr } = await finish([
        "setpriv",
        ...drop,
        ...read,
        GOALSTATE,
        name,
        ...args,
        ...file,
        "--data",
        join(folder, "d"),
      ]);
      expect(code).toBe(1);
      expect(stderr).toMatch(/^goalstate: .* need root; run it with sudo\n$/);
    });
  }
});
