/** The instance metadata document as plain data. Its values are strings, those of numbers and booleans too. */

import { formatIpv4, type Ipv4Subnet, networkOf } from "../../model/ipv4-address.ts";
import { formatMac } from "../../model/mac-address.ts";
import type { WireContainer } from "../wire-container.ts";
import type { ApiVersion } from "./api-versions.ts";
import { fieldsOf, type MetadataValue } from "./metadata-tree.ts";

/** What the metadata service says of the place, the same for all containers. */
export interface MetadataPlace {
  readonly location: string;
  readonly vmSize: string;
  /** Of a container that has no user of its own. */
  readonly adminUsername: string;
}

/** The subscription of everything: there is only one. */
export const SUBSCRIPTION_ID = "00000000-0000-0000-0000-000000000000";

/**
 * Makes the tree under `/metadata/instance`.
 *
 * @param isExtended - with what `extended=true` adds, in the versions that have it
 */
export function instanceMetadataOf(
  container: WireContainer,
  place: MetadataPlace,
  version: ApiVersion,
  isExtended: boolean,
): MetadataValue {
  const instance = fieldsOf(version, [
    ["2017-03-01", "compute", computeOf(container, place, version)],
    ["2017-03-01", "network", networkMetadataOf(container)],
  ]);
  // In the versions that clients ask it of: cloud-init from 2021-08-01, which is answered in 2021-05-01.
  if (!isExtended || version < "2021-05-01") return instance;
  return { ...instance, extended: { compute: extendedOf(container) } };
}

/** What cloud-init and azure-init look at before they read the disc. */
function extendedOf({ provisioning }: WireContainer): MetadataValue {
  return { hasCustomData: provisioning?.customData !== undefined, ppsType: "None" };
}

/** Versions as the real service's documentation gives them. */
function computeOf(
  container: WireContainer,
  place: MetadataPlace,
  version: ApiVersion,
): MetadataValue {
  const { provisioning, roleInstance } = container;
  const resourceGroup = container.deployment.name;
  return fieldsOf(version, [
    ["2018-10-01", "azEnvironment", "AzurePublicCloud"],
    ["2021-11-01", "additionalCapabilities", { hibernationEnabled: "false" }],
    // Never given here, on the real service neither: it is on the disc.
    ["2019-02-01", "customData", ""],
    ["2020-12-01", "evictionPolicy", ""],
    ["2021-03-01", "extendedLocation", { type: "", name: "" }],
    ["2021-11-15", "host", { id: "" }],
    ["2021-11-15", "hostGroup", { id: "" }],
    ["2020-06-01", "isHostCompatibilityLayerVm", "false"],
    ["2020-09-01", "licenseType", ""],
    ["2017-03-01", "location", place.location],
    ["2017-03-01", "name", roleInstance],
    ["2017-03-01", "offer", ""],
    ["2020-07-15", "osProfile", osProfileOf(container, place, version)],
    ["2017-03-01", "osType", "Linux"],
    ["2023-11-15", "physicalZone", ""],
    ["2017-08-01", "placementGroupId", ""],
    ["2018-04-02", "plan", { name: "", product: "", publisher: "" }],
    ["2017-03-01", "platformFaultDomain", "0"],
    ["2021-10-01", "platformSubFaultDomain", ""],
    ["2017-03-01", "platformUpdateDomain", "0"],
    ["2020-12-01", "priority", ""],
    ["2018-10-01", "provider", "Microsoft.Compute"],
    ["2018-04-02", "publicKeys", publicKeysOf(provisioning)],
    ["2017-03-01", "publisher", ""],
    ["2017-08-01", "resourceGroupName", resourceGroup],
    ["2019-03-11", "resourceId", resourceIdOf(resourceGroup, roleInstance)],
    [
      "2020-06-01",
      "securityProfile",
      fieldsOf(version, [
        ["2020-06-01", "secureBootEnabled", "false"],
        ["2020-06-01", "virtualTpmEnabled", "false"],
        ["2021-11-01", "encryptionAtHost", "false"],
        ["2021-12-13", "securityType", ""],
      ]),
    ],
    ["2017-03-01", "sku", ""],
    ["2017-08-01", "subscriptionId", SUBSCRIPTION_ID],
    ["2017-08-01", "tags", ""],
    ["2019-06-04", "tagsList", []],
    ["2021-01-01", "userData", provisioning?.userData ?? ""],
    ["2017-03-01", "version", ""],
    ["2021-03-01", "virtualMachineScaleSet", { id: "" }],
    // The guest's system UUID is made of it.
    ["2017-03-01", "vmId", container.containerId],
    ["2017-12-01", "vmScaleSetName", ""],
    ["2017-03-01", "vmSize", place.vmSize],
    ["2017-12-01", "zone", ""],
  ]);
}

/** Talos stops on a text that is not of this form. */
function resourceIdOf(resourceGroup: string, name: string): string {
  const group = `/subscriptions/${SUBSCRIPTION_ID}/resourceGroups/${resourceGroup}`;
  return `${group}/providers/Microsoft.Compute/virtualMachines/${name}`;
}

function osProfileOf(
  { provisioning, roleInstance }: WireContainer,
  place: MetadataPlace,
  version: ApiVersion,
): MetadataValue {
  const hasPassword = provisioning?.adminPassword !== undefined;
  return fieldsOf(version, [
    ["2020-07-15", "adminUsername", provisioning?.adminUsername ?? place.adminUsername],
    // A host name may not contain the underscore of a role instance's name.
    ["2020-07-15", "computerName", provisioning?.hostName ?? roleInstance.replaceAll("_", "-")],
    // cloud-init compares it with this text.
    ["2020-10-01", "disablePasswordAuthentication", hasPassword ? "false" : "true"],
  ]);
}

/** With these, cloud-init asks for no certificates. */
function publicKeysOf(provisioning: WireContainer["provisioning"]): MetadataValue {
  if (provisioning === undefined) return [];
  const path = `/home/${provisioning.adminUsername}/.ssh/authorized_keys`;
  return provisioning.sshKeys.map((keyData) => ({ keyData, path }));
}

function networkMetadataOf(container: WireContainer): MetadataValue {
  const subnet = container.subnet ?? subnetAround(container);
  const address = { privateIpAddress: formatIpv4(container.address), publicIpAddress: "" };
  return {
    interface: [
      {
        // Must be the NIC's own: cloud-init 22.4 fails, after it reported Ready, on a MAC that it does not find.
        macAddress: formatMac(container.mac).replaceAll(":", "").toUpperCase(),
        ipv4: {
          ipAddress: [address],
          subnet: [{ address: formatIpv4(subnet.network), prefix: String(subnet.prefixLength) }],
        },
        ipv6: { ipAddress: [] },
      },
    ],
  };
}

function subnetAround(container: WireContainer): Ipv4Subnet {
  return { network: networkOf(container.address, 24), prefixLength: 24 };
}
