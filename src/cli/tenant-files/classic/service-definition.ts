/**
 * The service definition (`.csdef`): roles, their size, endpoints, and the names of settings and certificates.
 *
 * @see Microsoft, "Azure Cloud Services (classic) Definition Schema (.csdef File)"
 */
import { nearestName } from "../../../model/nearest-name.ts";
import { byName, checkElements, type ElementRule, type Findings, listIn } from "./element-rules.ts";
import { findRoleSize, ROLE_SIZE_DEFAULT, ROLE_SIZES } from "./role-sizes.ts";
import type { XmlElement } from "./xml-document.ts";

/** A role as defined, without what the configuration says. */
export interface DefinedRole {
  readonly name: string;
  readonly element: XmlElement;
  readonly size: { readonly cpus: number; readonly memoryMib: number };
  readonly endpoints: readonly DefinedEndpoint[];
  /** Names, and where they are declared. */
  readonly settings: ReadonlyMap<string, XmlElement>;
  readonly certificates: ReadonlyMap<string, XmlElement>;
  /** Modules of the SDK, which declare settings and certificates of their own. */
  readonly imports: readonly string[];
}

/** Values as a tenant file has them, not yet checked, and the attribute that each is from. */
export interface DefinedEndpoint {
  readonly element: XmlElement;
  readonly name: string;
  readonly protocol: "http" | "tcp" | "udp";
  readonly port: number | string;
  readonly portFrom: XmlElement;
  readonly portAttribute: string;
  readonly public?: number | string;
  readonly health?: Readonly<Record<string, number | string>>;
}

export interface ServiceDefinition {
  readonly root: XmlElement;
  readonly name: string | undefined;
  readonly updateDomains: number | string | undefined;
  readonly roles: readonly DefinedRole[];
}

const APP_STARTS = "app.json in the role's folder says what is started";

const ROLE_RULE: ElementRule = {
  attributes: ["name", "vmsize"],
  ignoredAttributes: { enableNativeCodeExecution: "a role is a program of its own" },
  children: ["ConfigurationSettings", "Endpoints", "Certificates", "Imports"],
  ignored: {
    Startup: APP_STARTS,
    Runtime: APP_STARTS,
    Sites: APP_STARTS,
    Contents: "the role's folder is its content",
    LocalResources: "a role may write to its own disk",
    LocalStorage: "a role may write to its own disk",
  },
};

const RULES: Readonly<Record<string, ElementRule>> = {
  ServiceDefinition: {
    attributes: ["name", "upgradeDomainCount"],
    ignoredAttributes: {
      schemaVersion: "",
      topologyChangeDiscovery: "each role's agent sees a change with its next poll",
    },
    children: ["WebRole", "WorkerRole", "LoadBalancerProbes"],
    refused: {
      VirtualMachineRole: "write the tenant in YAML, with a role of kind iaas and its image",
      NetworkTrafficRules:
        "every role reaches every other in its VNET, so remove the rules if that will do",
    },
  },
  WebRole: ROLE_RULE,
  WorkerRole: ROLE_RULE,
  ConfigurationSettings: { attributes: [], children: ["Setting"] },
  Setting: { attributes: ["name"] },
  Imports: { attributes: [], children: ["Import"] },
  Import: { attributes: ["moduleName"] },
  Endpoints: {
    attributes: [],
    children: ["InputEndpoint", "InternalEndpoint"],
    refused: {
      InstanceInputEndpoint:
        "a public port leads to all instances of a role; use an InputEndpoint, or one role for each instance",
    },
  },
  InputEndpoint: {
    attributes: ["name", "protocol", "port", "localPort", "loadBalancerProbe"],
    ignoredAttributes: {
      certificate: "the role itself ends TLS",
      ignoreRoleInstanceStatus: "only Ready instances get connections",
    },
  },
  InternalEndpoint: {
    attributes: ["name", "protocol", "port"],
    children: ["FixedPort", "FixedPortRange"],
  },
  FixedPort: { attributes: ["port"] },
  FixedPortRange: { attributes: ["min", "max"] },
  Certificates: { attributes: [], children: ["Certificate"] },
  Certificate: {
    attributes: ["name", "storeName"],
    ignoredAttributes: { storeLocation: "", permissionLevel: "" },
  },
  LoadBalancerProbes: { attributes: [], children: ["LoadBalancerProbe"] },
  LoadBalancerProbe: {
    attributes: ["name", "protocol", "path", "port", "intervalInSeconds", "timeoutInSeconds"],
  },
};

/** Reads the definition; what is wrong goes to `findings`. */
export function readDefinition(root: XmlElement, findings: Findings): ServiceDefinition {
  if (root.name !== "ServiceDefinition") {
    findings.refuse(root, "is not the root of a .csdef file, which is <ServiceDefinition>");
    return { root, name: undefined, updateDomains: undefined, roles: [] };
  }
  checkElements(root, RULES, findings);
  const probes = byName(listIn(root, "LoadBalancerProbes", "LoadBalancerProbe"), findings);
  const roles = root.children.filter(({ name }) => name === "WebRole" || name === "WorkerRole");
  if (roles.length === 0) findings.refuse(root, "has no role; add a <WebRole> or <WorkerRole>");
  return {
    root,
    name: findings.need(root, "name"),
    updateDomains: numberOf(root.attributes.get("upgradeDomainCount")),
    roles: [...byName(roles, findings)].map(([name, element]) => ({
      name,
      element,
      size: readSize(element, findings),
      endpoints: readEndpoints(element, probes, findings),
      settings: byName(listIn(element, "ConfigurationSettings", "Setting"), findings),
      certificates: byName(listIn(element, "Certificates", "Certificate"), findings),
      imports: readImports(element, findings),
    })),
  };
}

/** A number where the text is one; else the text, which the tenant's schema then refuses with its place. */
export function numberOf(text: string | undefined): number | string | undefined {
  return text !== undefined && /^\s*\d{1,9}\s*$/.test(text) ? Number(text) : text;
}

function readSize(element: XmlElement, findings: Findings): DefinedRole["size"] {
  const name = element.attributes.get("vmsize") ?? ROLE_SIZE_DEFAULT;
  const size = findRoleSize(name);
  if (size !== undefined) return size;
  const nearest = nearestName(name, ROLE_SIZES);
  const fix =
    nearest === undefined
      ? "write one of docs/tenants.md, for example Small"
      : `did you mean ${nearest}?`;
  findings.refuse(element, `is "${name}", which is no size; ${fix}`, "vmsize");
  return { cpus: 1, memoryMib: 1792 };
}

function readImports(element: XmlElement, findings: Findings): string[] {
  return listIn(element, "Imports", "Import").flatMap((each) => {
    const module = findings.need(each, "moduleName");
    if (module === undefined) return [];
    findings.warn(each, `of ${module} has no effect; the guest has no modules of the SDK`);
    return [module];
  });
}

function readEndpoints(
  role: XmlElement,
  probes: ReadonlyMap<string, XmlElement>,
  findings: Findings,
): DefinedEndpoint[] {
  const inputs = listIn(role, "Endpoints", "InputEndpoint");
  const internals = listIn(role, "Endpoints", "InternalEndpoint");
  return [
    ...inputs.flatMap((element) => readInput(element, probes, findings) ?? []),
    ...internals.flatMap((element) => readInternal(element, findings) ?? []),
  ];
}

function readInput(
  element: XmlElement,
  probes: ReadonlyMap<string, XmlElement>,
  findings: Findings,
): DefinedEndpoint | undefined {
  const name = findings.need(element, "name");
  const publicPort = findings.need(element, "port");
  const protocol = readProtocol(element, ["http", "https", "tcp", "udp"], findings);
  const localPort = element.attributes.get("localPort");
  if (localPort === "*") {
    findings.refuse(element, "is *, a port that the platform chooses; write a number", "localPort");
    return undefined;
  }
  if (name === undefined || publicPort === undefined || protocol === undefined) return undefined;
  const port = numberOf(localPort ?? publicPort)!;
  const health = readProbe(element, protocol, port, probes, findings);
  return {
    ...{ element, name, protocol, port, portFrom: element },
    portAttribute: localPort === undefined ? "port" : "localPort",
    public: numberOf(publicPort)!,
    ...(health !== undefined && { health }),
  };
}

function readInternal(element: XmlElement, findings: Findings): DefinedEndpoint | undefined {
  const name = findings.need(element, "name");
  const protocol = readProtocol(element, ["http", "tcp", "udp", "any"], findings);
  const fixed = element.children.find((child) => child.name === "FixedPort");
  const range = element.children.find((child) => child.name === "FixedPortRange");
  const [portFrom, portAttribute] =
    fixed !== undefined
      ? ([fixed, "port"] as const)
      : range !== undefined
        ? ([range, "min"] as const)
        : ([element, "port"] as const);
  const port = portFrom.attributes.get(portAttribute);
  if (port === undefined || port === "*") {
    const text =
      'has no fixed port; add port="...": an instance is found by its name and this port';
    findings.refuse(portFrom, text);
    return undefined;
  }
  if (range !== undefined && fixed === undefined && range.attributes.get("max") !== port) {
    findings.refuse(range, "is a range; an endpoint has one port, so write <FixedPort>", "max");
    return undefined;
  }
  if (name === undefined || protocol === undefined) return undefined;
  return { element, name, protocol, port: numberOf(port)!, portFrom, portAttribute };
}

/** The protocol in a tenant file's words; `https` is `tcp` to the fabric. */
function readProtocol(
  element: XmlElement,
  known: readonly string[],
  findings: Findings,
): DefinedEndpoint["protocol"] | undefined {
  const written = findings.need(element, "protocol");
  if (written === undefined) return undefined;
  const protocol = written.toLowerCase();
  switch (known.includes(protocol) ? protocol : "") {
    case "http":
    case "tcp":
    case "udp":
      return protocol as DefinedEndpoint["protocol"];
    case "https":
      findings.warn(
        element,
        "is https, which is passed on as tcp; the role itself ends TLS",
        "protocol",
      );
      return "tcp";
    case "any":
      findings.refuse(
        element,
        "is any; write tcp, udp or http, and one endpoint for each",
        "protocol",
      );
      return undefined;
    default:
      findings.refuse(element, `is "${written}"; write one of ${known.join(", ")}`, "protocol");
      return undefined;
  }
}

/** Azure's defaults of a probe. */
const PROBE_INTERVAL_SECONDS = 15;
const PROBE_TIMEOUT_SECONDS = 30;

function readProbe(
  endpoint: XmlElement,
  protocol: DefinedEndpoint["protocol"],
  port: number | string,
  probes: ReadonlyMap<string, XmlElement>,
  findings: Findings,
): DefinedEndpoint["health"] {
  const name = endpoint.attributes.get("loadBalancerProbe");
  if (name === undefined) return undefined;
  const probe = probes.get(name);
  if (probe === undefined) {
    const text = `is "${name}", and there is no <LoadBalancerProbe> of this name; add it`;
    findings.refuse(endpoint, text, "loadBalancerProbe");
    return undefined;
  }
  const seconds = (attribute: string, otherwise: number): number => {
    const value = numberOf(probe.attributes.get(attribute)) ?? otherwise;
    if (typeof value === "number" && value >= 1 && value <= 3600) return value;
    findings.refuse(probe, `is "${value}"; write a number of seconds, 1 to 3600`, attribute);
    return otherwise;
  };
  const interval = seconds("intervalInSeconds", PROBE_INTERVAL_SECONDS);
  const timeout = seconds("timeoutInSeconds", PROBE_TIMEOUT_SECONDS);
  const wanted = readProtocol(probe, ["http", "tcp"], findings);
  if (protocol === "udp") {
    findings.warn(endpoint, "has no effect; udp cannot be probed", "loadBalancerProbe");
    return undefined;
  }
  if (wanted !== undefined && wanted !== protocol) {
    findings.warn(
      probe,
      `is ${wanted}, and an endpoint of it ${protocol}: it is probed by ${protocol}`,
      "protocol",
    );
  }
  const probePort = numberOf(probe.attributes.get("port")) ?? port;
  if (probePort !== port) {
    findings.warn(probe, `has no effect; the endpoint's own port ${port} is probed`, "port");
  }
  const path = probe.attributes.get("path");
  return {
    ...(path !== undefined && protocol === "http" && { path }),
    intervalSeconds: interval,
    unhealthyAfter: Math.min(100, Math.max(1, Math.ceil(timeout / interval))),
  };
}
