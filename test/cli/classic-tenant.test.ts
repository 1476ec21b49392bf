import { describe, expect, test } from "vitest";
import { readClassicTenant } from "../../src/cli/tenant-files/classic/classic-tenant.ts";
import { findRoleSize, ROLE_SIZES } from "../../src/cli/tenant-files/classic/role-sizes.ts";

const SUM = "0123456789ABCDEF0123456789ABCDEF01234567";

const DEFINITION = `<?xml version="1.0" encoding="utf-8"?>
<ServiceDefinition name="shop" xmlns="http://schemas.microsoft.com/ServiceHosting/2008/10/ServiceDefinition">
  <WebRole name="web" vmsize="Medium">
    <ConfigurationSettings>
      <Setting name="Greeting" />
    </ConfigurationSettings>
    <Endpoints>
      <InputEndpoint name="site" protocol="http" port="80" localPort="8080" />
      <InternalEndpoint name="peer" protocol="tcp" port="9000" />
    </Endpoints>
    <Certificates>
      <Certificate name="tls" storeLocation="LocalMachine" storeName="CA" />
    </Certificates>
  </WebRole>
  <WorkerRole name="back">
    <Endpoints />
  </WorkerRole>
</ServiceDefinition>
`;

const CONFIGURATION = `<ServiceConfiguration serviceName="shop">
  <Role name="web">
    <Instances count="2" />
    <ConfigurationSettings>
      <Setting name="Greeting" value="a &lt; b" />
    </ConfigurationSettings>
    <Certificates>
      <Certificate name="tls" thumbprint="${SUM}" thumbprintAlgorithm="sha1" />
    </Certificates>
  </Role>
  <Role name="back">
    <Instances count="1" />
  </Role>
</ServiceConfiguration>
`;

const FILES = {
  definition: "shop.csdef",
  configuration: "shop.cscfg",
  findApp: (role: string) => `./${role}`,
};

/** Replaces a text that is there once. */
function edit(text: string, from: string, to: string): string {
  expect(text.split(from)).toHaveLength(2);
  return text.replace(from, () => to);
}

const defined = (from: string, to: string) =>
  readClassicTenant(edit(DEFINITION, from, to), CONFIGURATION, FILES);
const configured = (from: string, to: string) =>
  readClassicTenant(DEFINITION, edit(CONFIGURATION, from, to), FILES);

function messageOf(read: () => unknown): string {
  try {
    read();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  throw new Error("it was accepted");
}

describe("readClassicTenant()", () => {
  test("makes the tenant that both files describe", () => {
    const { tenant, warnings } = readClassicTenant(DEFINITION, CONFIGURATION, FILES);
    expect(warnings).toEqual([]);
    expect(tenant).toMatchObject({
      tenant: "shop",
      vnet: { name: "default", addressSpace: { prefixLength: 16 } },
      roles: [
        {
          ...{ name: "web", kind: "paas", instances: 2, app: "./web" },
          size: { cpus: 2, memoryMib: 3584 },
          endpoints: [
            { name: "site", protocol: "http", port: 8080, public: 80 },
            { name: "peer", protocol: "tcp", port: 9000 },
          ],
          settings: { Greeting: "a < b" },
          certificates: [{ name: "tls", thumbprint: SUM, store: "CA" }],
        },
        { name: "back", instances: 1, size: { cpus: 1, memoryMib: 1792 } },
      ],
    });
  });

  test("takes update domains, a probe, a fixed port and the network's name", () => {
    const definition = edit(
      edit(
        edit(DEFINITION, 'name="shop"', 'name="shop" upgradeDomainCount="3"'),
        'localPort="8080"',
        'localPort="8080" loadBalancerProbe="p"',
      ),
      "<Endpoints />",
      '<Endpoints><InternalEndpoint name="q" protocol="udp"><FixedPort port="7" /></InternalEndpoint></Endpoints>',
    ).replace(
      "<WebRole",
      '<LoadBalancerProbes><LoadBalancerProbe name="p" protocol="http" path="/up" timeoutInSeconds="40" /></LoadBalancerProbes><WebRole',
    );
    const network =
      '<NetworkConfiguration><VirtualNetworkSite name="Group rg net-1" /></NetworkConfiguration>';
    const configuration = CONFIGURATION.replace(
      "</ServiceConfiguration>",
      `${network}</ServiceConfiguration>`,
    );
    const { tenant } = readClassicTenant(definition, configuration, FILES);
    expect(tenant.update.domains).toBe(3);
    expect(tenant.vnet.name).toBe("net-1");
    expect(tenant.roles[0]!.endpoints[0]!.health).toEqual({
      ...{ path: "/up", intervalSeconds: 15, unhealthyAfter: 3 },
    });
    expect(tenant.roles[1]!.endpoints).toEqual([{ name: "q", protocol: "udp", port: 7 }]);
  });

  test("takes settings and certificates that an import declares", () => {
    const plugin = "Microsoft.WindowsAzure.Plugins.RemoteAccess";
    const definition = edit(
      DEFINITION,
      "<Endpoints />",
      '<Imports><Import moduleName="RemoteAccess" /></Imports>',
    );
    const configuration = edit(
      CONFIGURATION,
      '<Instances count="1" />',
      `<Instances count="1" /><ConfigurationSettings><Setting name="${plugin}.Enabled" value="true" /></ConfigurationSettings>`,
    );
    const { tenant, warnings } = readClassicTenant(definition, configuration, FILES);
    expect(tenant.roles[1]!.settings).toEqual({ [`${plugin}.Enabled`]: "true" });
    expect(warnings).toEqual([
      "shop.csdef:16:14: <Import> of RemoteAccess has no effect; the guest has no modules of the SDK",
    ]);
  });

  test.each([
    [
      "a start-up task",
      "<Endpoints />",
      "<Startup><Task /></Startup>",
      "16:5: <Startup> has no effect; app.json",
    ],
    [
      "local storage",
      "<Endpoints />",
      "<LocalResources />",
      "16:5: <LocalResources> has no effect",
    ],
    [
      "https",
      'protocol="http"',
      'protocol="https"',
      "8:34: <InputEndpoint> protocol: is https, which is passed on as tcp",
    ],
    [
      "native code",
      'vmsize="Medium"',
      'enableNativeCodeExecution="true"',
      "3:23: <WebRole> enableNativeCodeExecution: has no effect",
    ],
  ])("warns of %s, with its line", (_what, from, to, warning) => {
    expect(defined(from, to).warnings).toEqual([expect.stringContaining(`shop.csdef:${warning}`)]);
  });

  test.each([
    [
      "the guest's system",
      'serviceName="shop"',
      'serviceName="shop" osFamily="4"',
      "1:42: <ServiceConfiguration> osFamily: has no effect",
    ],
    [
      "subnets",
      "</ServiceConfiguration>",
      "<NetworkConfiguration><AddressAssignments /></NetworkConfiguration></ServiceConfiguration>",
      "14:23: <AddressAssignments> has no effect",
    ],
  ])("warns of %s in the configuration, with its line", (_what, from, to, warning) => {
    const { warnings } = configured(from, to);
    expect(warnings).toEqual([expect.stringContaining(`shop.cscfg:${warning}`)]);
  });

  test("warns of a role without an app", () => {
    const { tenant, warnings } = readClassicTenant(DEFINITION, CONFIGURATION, {
      ...FILES,
      findApp: (role) => (role === "web" ? "./web" : undefined),
    });
    expect(tenant.roles[1]!.app).toBeUndefined();
    expect(warnings).toEqual([
      expect.stringContaining('15:15: <WorkerRole> name: is "back", and there is no'),
    ]);
  });

  test.each([
    [
      "a role without configuration",
      '<WorkerRole name="back">',
      '<WorkerRole name="rear">',
      [
        'shop.csdef:15:15: <WorkerRole> name: is "rear", which shop.cscfg does not configure; add <Role name="rear"> there',
        'shop.cscfg:11:9: <Role> name: is "back", which shop.csdef does not declare; declare it there, or remove it',
      ],
    ],
    [
      "two roles of one name",
      '<WorkerRole name="back">',
      '<WorkerRole name="web">',
      [
        'shop.csdef:15:15: <WorkerRole> name: is "web", which line 3 has already; remove one',
        'shop.cscfg:11:9: <Role> name: is "back", which shop.csdef does not declare; declare it',
      ],
    ],
    [
      "a name that no host can have",
      '<ServiceDefinition name="shop"',
      '<ServiceDefinition name="my shop"',
      [
        "shop.csdef:2:20: <ServiceDefinition> name: may hold letters, digits and inner hyphens only",
        "shop.cscfg:1:23: <ServiceConfiguration> serviceName",
      ],
    ],
    [
      "a setting without a value",
      '<Setting name="Greeting" />',
      '<Setting name="Greeting" /><Setting name="Mode" />',
      [
        'shop.csdef:5:43: <Setting> name: is "Mode", and shop.cscfg has none for role web; add <Setting name="Mode" value="..." /> there',
      ],
    ],
    [
      "a certificate without a thumbprint",
      '<Certificate name="tls"',
      '<Certificate name="ssl"',
      [
        'shop.csdef:12:20: <Certificate> name: is "ssl", and shop.cscfg has none',
        'shop.cscfg:8:20: <Certificate> name: is "tls", which shop.csdef does not declare; declare it there',
      ],
    ],
    [
      "another size",
      'vmsize="Medium"',
      'vmsize="Mediun"',
      ['shop.csdef:3:23: <WebRole> vmsize: is "Mediun", which is no size; did you mean Medium?'],
    ],
    [
      "an attribute in another case",
      'vmsize="Medium"',
      'vmSize="Medium"',
      ["shop.csdef:3:23: <WebRole> vmSize: is unknown; did you mean vmsize?"],
    ],
    [
      "an unknown element",
      "<Endpoints />",
      "<EndPoint />",
      ["shop.csdef:16:5: <EndPoint> is unknown; did you mean Endpoints?"],
    ],
    [
      "a port that is none",
      'port="80"',
      'port="http"',
      ['shop.csdef:8:50: <InputEndpoint> port: is "http"; write a number'],
    ],
    [
      "a port beyond 65535",
      'localPort="8080"',
      'localPort="65536"',
      ["shop.csdef:8:60: <InputEndpoint> localPort: is 65536; write at most 65535"],
    ],
    [
      "a port of the platform's choice",
      'localPort="8080"',
      'localPort="*"',
      [
        "shop.csdef:8:60: <InputEndpoint> localPort: is *, a port that the platform chooses; write a number",
      ],
    ],
    [
      "a public port that is used twice",
      "<Endpoints />",
      '<Endpoints><InputEndpoint name="b" protocol="tcp" port="80" /></Endpoints>',
      [
        "shop.csdef:16:55: <InputEndpoint> port: is the public port of endpoint site of role web too (tcp 80)",
      ],
    ],
    [
      "endpoints of one name",
      'name="peer"',
      'name="site"',
      ["shop.csdef:9:25: <InternalEndpoint> name: is the name of roles[0].endpoints[0] too"],
    ],
    [
      "an internal endpoint without a port",
      ' port="9000"',
      "",
      ["shop.csdef:9:7: <InternalEndpoint> has no fixed port; add port"],
    ],
    [
      "a range of ports",
      ' port="9000" />',
      '><FixedPortRange min="1" max="2" /></InternalEndpoint>',
      ["shop.csdef:9:76: <FixedPortRange> max: is a range; an endpoint has one port"],
    ],
    [
      "any protocol",
      'protocol="tcp"',
      'protocol="any"',
      ["shop.csdef:9:37: <InternalEndpoint> protocol: is any; write tcp, udp or http"],
    ],
    [
      "another protocol",
      'protocol="tcp"',
      'protocol="sctp"',
      ['<InternalEndpoint> protocol: is "sctp"; write one of http, tcp, udp, any'],
    ],
    [
      "an instance input endpoint",
      "<Endpoints />",
      "<Endpoints><InstanceInputEndpoint /></Endpoints>",
      [
        "shop.csdef:16:16: <InstanceInputEndpoint> is not supported; a public port leads to all instances",
      ],
    ],
    [
      "a VM role",
      "<WebRole",
      "<VirtualMachineRole /><WebRole",
      ["shop.csdef:3:3: <VirtualMachineRole> is not supported; write the tenant in YAML"],
    ],
    [
      "traffic rules",
      "<WebRole",
      "<NetworkTrafficRules /><WebRole",
      ["shop.csdef:3:3: <NetworkTrafficRules> is not supported; every role reaches every other"],
    ],
    [
      "a probe that is not there",
      'localPort="8080"',
      'loadBalancerProbe="x"',
      ['loadBalancerProbe: is "x", and there is no <LoadBalancerProbe> of this name; add it'],
    ],
    [
      "too many update domains",
      'name="shop"',
      'name="shop" upgradeDomainCount="21"',
      ["shop.csdef:2:32: <ServiceDefinition> upgradeDomainCount: is 21; write at most 20"],
    ],
    [
      "no name",
      ' name="shop"',
      "",
      ['shop.csdef:2:1: <ServiceDefinition> has no name; add name="..."'],
    ],
  ])("refuses %s in the definition, with place and fix", (_what, from, to, lines) => {
    const message = messageOf(() => defined(from, to));
    expect(message.split("\n")).toEqual(lines.map((line) => expect.stringContaining(line)));
  });

  test.each([
    [
      "another service",
      'serviceName="shop"',
      'serviceName="other"',
      [
        'shop.cscfg:1:23: <ServiceConfiguration> serviceName: is "other", and the definition\'s name is "shop"; make them one',
      ],
    ],
    [
      "no instance",
      'count="2"',
      'count="0"',
      ["shop.cscfg:3:16: <Instances> count: is 0; write at least 1"],
    ],
    [
      "a count that is none",
      'count="2"',
      'count="two"',
      ['shop.cscfg:3:16: <Instances> count: is "two"; write a number'],
    ],
    ["no count", ' count="2"', "", ['shop.cscfg:3:5: <Instances> has no count; add count="..."']],
    [
      "no instances",
      '<Instances count="1" />',
      "",
      ['shop.cscfg:11:3: <Role> has no <Instances>; add <Instances count="1" />'],
    ],
    [
      "a setting that is not declared",
      'name="Greeting"',
      'name="Greting"',
      [
        'shop.csdef:5:16: <Setting> name: is "Greeting", and shop.cscfg has none',
        'shop.cscfg:5:16: <Setting> name: is "Greting", which shop.csdef does not declare; did you mean Greeting?',
      ],
    ],
    [
      "a setting without a value",
      ' value="a &lt; b"',
      "",
      ['shop.cscfg:5:7: <Setting> has no value; add value="..."'],
    ],
    [
      "a bad thumbprint",
      SUM,
      "123",
      ["shop.cscfg:8:31: <Certificate> thumbprint: is no thumbprint; write the 40"],
    ],
    ["another sum", "sha1", "sha256", ['thumbprintAlgorithm: is "sha256"; write sha1']],
    [
      "access rules",
      "</ServiceConfiguration>",
      "<NetworkConfiguration><EndpointAcls /></NetworkConfiguration></ServiceConfiguration>",
      ["shop.cscfg:14:23: <EndpointAcls> is not supported; public endpoints are open to all"],
    ],
    [
      "more instances than addresses",
      'count="2"',
      'count="1001"',
      ["shop.cscfg:3:16: <Instances> count: is 1001; write at most 1000"],
    ],
  ])("refuses %s in the configuration, with place and fix", (_what, from, to, lines) => {
    const message = messageOf(() => configured(from, to));
    expect(message.split("\n")).toEqual(lines.map((line) => expect.stringContaining(line)));
  });

  test("names what is wrong in both files at once", () => {
    const definition = edit(DEFINITION, 'port="80"', 'port="0"');
    const configuration = edit(CONFIGURATION, 'count="2"', 'count="0"');
    expect(
      messageOf(() => readClassicTenant(definition, configuration, FILES)).split("\n"),
    ).toEqual([
      expect.stringContaining("shop.csdef:8:50: <InputEndpoint> port: is 0"),
      expect.stringContaining("shop.cscfg:3:16: <Instances> count: is 0"),
    ]);
  });

  test("refuses files that were mixed up", () => {
    expect(messageOf(() => readClassicTenant(CONFIGURATION, DEFINITION, FILES))).toContain(
      "shop.csdef:1:1: <ServiceConfiguration> is not the root of a .csdef file",
    );
  });
});

describe("findRoleSize()", () => {
  test("knows each size in any case, within what an instance may have", () => {
    for (const name of ROLE_SIZES) {
      const size = findRoleSize(name.toUpperCase())!;
      expect(Number.isInteger(size.memoryMib) && size.memoryMib <= 262_144).toBe(true);
      expect(size.cpus).toBeLessThanOrEqual(64);
    }
    expect(findRoleSize("Standard_A0")).toEqual({ cpus: 1, memoryMib: 768 });
    expect(findRoleSize("Huge")).toBeUndefined();
  });
});
