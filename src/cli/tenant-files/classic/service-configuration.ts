/**
 * The service configuration (`.cscfg`): how many instances a role has, the values of its settings, the thumbprints of
 * its certificates, and the virtual network's name.
 *
 * @see Microsoft, "Azure Cloud Services (classic) Config Schema (.cscfg File)"
 */
import { byName, checkElements, type ElementRule, type Findings, listIn } from "./element-rules.ts";
import { numberOf } from "./service-definition.ts";
import type { XmlElement } from "./xml-document.ts";

/** What the configuration says of a role. */
export interface ConfiguredRole {
  readonly element: XmlElement;
  /** Where the count is from; absent if there is no `<Instances>`. */
  readonly instances: XmlElement | undefined;
  readonly count: number | string | undefined;
  readonly settings: ReadonlyMap<string, XmlElement>;
  readonly certificates: ReadonlyMap<string, XmlElement>;
}

export interface ServiceConfiguration {
  readonly root: XmlElement;
  readonly serviceName: string | undefined;
  readonly roles: ReadonlyMap<string, ConfiguredRole>;
  /** `<VirtualNetworkSite>` and the network's name in it. */
  readonly site: { readonly element: XmlElement; readonly name: string } | undefined;
}

const GUEST_SYSTEM = "the guest's system is that of its image";

const RULES: Readonly<Record<string, ElementRule>> = {
  ServiceConfiguration: {
    attributes: ["serviceName"],
    ignoredAttributes: { osFamily: GUEST_SYSTEM, osVersion: GUEST_SYSTEM, schemaVersion: "" },
    children: ["Role", "NetworkConfiguration"],
  },
  Role: {
    attributes: ["name"],
    ignoredAttributes: { vmName: "an instance's host name is its role's name and its number" },
    children: ["Instances", "ConfigurationSettings", "Certificates"],
    ignored: { OsImage: "it is of a VirtualMachineRole" },
  },
  Instances: { attributes: ["count"] },
  ConfigurationSettings: { attributes: [], children: ["Setting"] },
  Setting: { attributes: ["name", "value"] },
  Certificates: { attributes: [], children: ["Certificate"] },
  Certificate: { attributes: ["name", "thumbprint", "thumbprintAlgorithm"] },
  NetworkConfiguration: {
    attributes: [],
    children: ["VirtualNetworkSite"],
    ignored: {
      AddressAssignments: "a VNET is one subnet, and its instances get addresses from it",
      Dns: "guests ask the fabric's own name server",
    },
    refused: {
      AccessControls: "public endpoints are open to all, so remove it if that will do",
      EndpointAcls: "public endpoints are open to all, so remove it if that will do",
    },
  },
  VirtualNetworkSite: { attributes: ["name"] },
};

/** Reads the configuration; what is wrong goes to `findings`. */
export function readConfiguration(root: XmlElement, findings: Findings): ServiceConfiguration {
  if (root.name !== "ServiceConfiguration") {
    findings.refuse(root, "is not the root of a .cscfg file, which is <ServiceConfiguration>");
    return { root, serviceName: undefined, roles: new Map(), site: undefined };
  }
  checkElements(root, RULES, findings);
  const elements = root.children.filter(({ name }) => name === "Role");
  const roles = [...byName(elements, findings)].map(
    ([name, element]) => [name, readRole(element, findings)] as const,
  );
  return {
    root,
    serviceName: findings.need(root, "serviceName"),
    roles: new Map(roles),
    site: readSite(root, findings),
  };
}

function readRole(element: XmlElement, findings: Findings): ConfiguredRole {
  const instances = element.children.find(({ name }) => name === "Instances");
  if (instances === undefined) {
    findings.refuse(element, 'has no <Instances>; add <Instances count="1" />');
  }
  const count = instances === undefined ? undefined : findings.need(instances, "count");
  const settings = byName(listIn(element, "ConfigurationSettings", "Setting"), findings);
  const certificates = byName(listIn(element, "Certificates", "Certificate"), findings);
  for (const setting of settings.values()) findings.need(setting, "value");
  for (const certificate of certificates.values()) {
    findings.need(certificate, "thumbprint");
    const algorithm = certificate.attributes.get("thumbprintAlgorithm") ?? "sha1";
    if (algorithm.toLowerCase() === "sha1") continue;
    findings.refuse(certificate, `is "${algorithm}"; write sha1`, "thumbprintAlgorithm");
  }
  return { element, instances, count: numberOf(count), settings, certificates };
}

/** The name stands alone, behind the word `Group` and a resource group, or at the end of a resource's path. */
function readSite(root: XmlElement, findings: Findings): ServiceConfiguration["site"] {
  const [element, ...more] = listIn(root, "NetworkConfiguration", "VirtualNetworkSite");
  for (const another of more) findings.refuse(another, "is the second; a service is in one VNET");
  if (element === undefined) return undefined;
  const name = findings.need(element, "name");
  if (name === undefined) return undefined;
  const word =
    name
      .trim()
      .split(/[\s/]+/)
      .at(-1) ?? "";
  return { element, name: word };
}
