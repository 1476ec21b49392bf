/** A classic pair, service definition and service configuration, as a tenant. */
import { nearestName } from "../../../model/nearest-name.ts";
import { formatPath, type Place, problemsError, type Source } from "../../../model/schema.ts";
import { checkTenant, type TenantDescription } from "../../../model/tenant.ts";
import { Findings } from "./element-rules.ts";
import {
  type ConfiguredRole,
  readConfiguration,
  type ServiceConfiguration,
} from "./service-configuration.ts";
import { type DefinedRole, readDefinition, type ServiceDefinition } from "./service-definition.ts";
import { parseXml, type XmlElement } from "./xml-document.ts";

/** The pair does not say which addresses its network has. */
const ADDRESS_SPACE = "10.0.0.0/16";
/** Of a service without a `<VirtualNetworkSite>`. */
const VNET_NAME = "default";

export interface ClassicFiles {
  /** The two files' names, for messages. */
  readonly definition: string;
  readonly configuration: string;
  /** A role's app folder, relative to the definition, or undefined if the role has none. */
  readonly findApp: (role: string) => string | undefined;
}

/**
 * Reads a tenant from the texts of a classic pair.
 *
 * @throws FabricError ERR_USAGE_FILE for what is no XML, ERR_USAGE_TENANT for all else; every wrong place is named by
 * file, line and column
 */
export function readClassicTenant(
  csdefText: string,
  cscfgText: string,
  files: ClassicFiles,
): { readonly tenant: TenantDescription; readonly warnings: readonly string[] } {
  const findings = new Findings();
  const definition = readDefinition(parseXml(csdefText, files.definition), findings);
  const configuration = readConfiguration(parseXml(cscfgText, files.configuration), findings);
  const draft = new Draft(files.definition, definition.root);
  const refuse = () => problemsError(findings.problems, draft.source, "ERR_USAGE_TENANT");
  // Without a name and a role there is no tenant to look at.
  if (definition.name === undefined || definition.roles.length === 0) throw refuse();
  comparePair(definition, configuration, files, findings);
  const checked = checkTenant(draftTenant(draft, definition, configuration, files), draft.source);
  if (!checked.ok) findings.problems.push(...checked.problems);
  if (!checked.ok || findings.problems.length > 0) throw refuse();
  return { tenant: checked.value, warnings: findings.warnings };
}

/** Where the parts of a tenant that is made of the pair come from. */
class Draft {
  readonly source: Source;
  readonly #origins = new Map<string, { readonly place: Place; readonly what: string }>();

  constructor(name: string, root: XmlElement) {
    this.#origins.set(formatPath([]), { place: root.place, what: `<${root.name}>` });
    this.source = {
      name,
      locate: (path) => this.#find(path)?.place,
      describe: (path) => this.#find(path)?.what,
    };
  }

  /** Notes that the value at `path` is an element's, or that of one of its attributes. */
  note(path: readonly (string | number)[], element: XmlElement, attribute?: string): void {
    const place = attribute === undefined ? element.place : element.placeOf(attribute);
    const what = attribute === undefined ? `<${element.name}>` : `<${element.name}> ${attribute}`;
    this.#origins.set(formatPath(path), { place, what });
  }

  #find(
    path: readonly PropertyKey[],
  ): { readonly place: Place; readonly what: string } | undefined {
    for (let length = path.length; length >= 0; length -= 1) {
      const origin = this.#origins.get(formatPath(path.slice(0, length)));
      if (origin !== undefined) return origin;
    }
    return undefined;
  }
}

function draftTenant(
  draft: Draft,
  { root, name, updateDomains, roles }: ServiceDefinition,
  configuration: ServiceConfiguration,
  { findApp }: ClassicFiles,
): unknown {
  draft.note(["tenant"], root, "name");
  draft.note(["update", "domains"], root, "upgradeDomainCount");
  const { site } = configuration;
  draft.note(["vnet"], site?.element ?? configuration.root, site && "name");
  return {
    tenant: name,
    vnet: { name: site?.name ?? VNET_NAME, addressSpace: ADDRESS_SPACE },
    ...(updateDomains !== undefined && { update: { domains: updateDomains } }),
    roles: roles.map((role, index) => {
      const path = ["roles", index];
      draft.note(path, role.element, "name");
      const configured = configuration.roles.get(role.name);
      if (configured?.instances !== undefined) {
        draft.note([...path, "instances"], configured.instances, "count");
      }
      const app = findApp(role.name);
      return {
        ...{ name: role.name, size: role.size },
        ...(configured?.count !== undefined && { instances: configured.count }),
        ...(app !== undefined && { app }),
        endpoints: draftEndpoints(draft, path, role),
        settings: draftSettings(draft, path, configured),
        certificates: draftCertificates(draft, path, role, configured),
      };
    }),
  };
}

type Path = readonly (string | number)[];

function draftEndpoints(draft: Draft, path: Path, { endpoints }: DefinedRole): unknown[] {
  return endpoints.map((endpoint, index) => {
    const { element, portFrom, portAttribute, name, protocol, port, health } = endpoint;
    const at = [...path, "endpoints", index];
    draft.note(at, element);
    draft.note([...at, "name"], element, "name");
    draft.note([...at, "port"], portFrom, portAttribute);
    draft.note([...at, "public"], element, "port");
    draft.note([...at, "health"], element, "loadBalancerProbe");
    const isPublic = endpoint.public !== undefined;
    return {
      ...{ name, protocol, port },
      ...(isPublic && { public: endpoint.public }),
      ...(health !== undefined && { health }),
    };
  });
}

function draftSettings(
  draft: Draft,
  path: Path,
  configured: ConfiguredRole | undefined,
): Record<string, string> {
  const settings = [...(configured?.settings ?? [])].flatMap(([name, element]) => {
    const value = element.attributes.get("value");
    if (value === undefined) return [];
    draft.note([...path, "settings", name], element, "value");
    return [[name, value] as const];
  });
  return Object.fromEntries(settings);
}

function draftCertificates(
  draft: Draft,
  path: Path,
  role: DefinedRole,
  configured: ConfiguredRole | undefined,
): unknown[] {
  const given = [...(configured?.certificates ?? [])].flatMap(([name, element]) => {
    const thumbprint = element.attributes.get("thumbprint");
    return thumbprint === undefined ? [] : [{ name, element, thumbprint }];
  });
  return given.map(({ name, element, thumbprint }, index) => {
    const at = [...path, "certificates", index];
    draft.note(at, element);
    draft.note([...at, "name"], element, "name");
    draft.note([...at, "thumbprint"], element, "thumbprint");
    const store = role.certificates.get(name)?.attributes.get("storeName");
    return { name, thumbprint, ...(store !== undefined && { store }) };
  });
}

/** What the two files must say of each other. */
function comparePair(
  definition: ServiceDefinition,
  configuration: ServiceConfiguration,
  files: ClassicFiles,
  findings: Findings,
): void {
  const { root, serviceName } = configuration;
  if (serviceName !== undefined && serviceName !== definition.name) {
    const text = `is "${serviceName}", and the definition's name is "${definition.name}"; make them one`;
    findings.refuse(root, text, "serviceName");
  }
  for (const role of definition.roles) {
    const configured = configuration.roles.get(role.name);
    if (configured === undefined) {
      const text = `is "${role.name}", which ${files.configuration} does not configure; add <Role name="${role.name}"> there`;
      findings.refuse(role.element, text, "name");
    } else compareRole(role, configured, files, findings);
    if (files.findApp(role.name) === undefined) {
      const text = `is "${role.name}", and there is no ${role.name}/app.json beside the definition: its instances run the guest agent only`;
      findings.warn(role.element, text, "name");
    }
  }
  const names = definition.roles.map(({ name }) => name);
  for (const [name, { element }] of configuration.roles) {
    if (!names.includes(name)) refuseUndeclared({ name, element, names, files, findings });
  }
}

function compareRole(
  role: DefinedRole,
  configured: ConfiguredRole,
  files: ClassicFiles,
  findings: Findings,
): void {
  const lists = [
    { declared: role.settings, given: configured.settings, example: 'value="..."' },
    { declared: role.certificates, given: configured.certificates, example: 'thumbprint="..."' },
  ];
  const isImported = (name: string): boolean =>
    role.imports.some((module) => name.startsWith(`Microsoft.WindowsAzure.Plugins.${module}.`));
  for (const { declared, given, example } of lists) {
    for (const [name, element] of declared) {
      if (given.has(name)) continue;
      const text = `is "${name}", and ${files.configuration} has none for role ${role.name}; add <${element.name} name="${name}" ${example} /> there`;
      findings.refuse(element, text, "name");
    }
    const names = [...declared.keys()];
    for (const [name, element] of given) {
      if (declared.has(name) || isImported(name)) continue;
      refuseUndeclared({ name, element, names, files, findings });
    }
  }
}

function refuseUndeclared(options: {
  readonly name: string;
  readonly element: XmlElement;
  readonly names: readonly string[];
  readonly files: ClassicFiles;
  readonly findings: Findings;
}): void {
  const { name, element, names, files, findings } = options;
  const nearest = nearestName(name, names);
  const fix = nearest === undefined ? "declare it there, or remove it" : `did you mean ${nearest}?`;
  const text = `is "${name}", which ${files.definition} does not declare; ${fix}`;
  findings.refuse(element, text, "name");
}
