/** The instance metadata document as plain data. All its values are strings, numbers and booleans too. */

import { formatIpv4, type Ipv4Subnet, networkOf } from "../model/ipv4-address.ts";
import { formatMac } from "../model/mac-address.ts";
import type { WireContainer } from "./wire-container.ts";

/** What the metadata service says of the place, the same for all containers. */
export interface MetadataPlace {
  readonly location: string;
  readonly vmSize: string;
  readonly adminUsername: string;
}

/** A JSON value of the metadata tree. */
export type MetadataValue =
  | string
  | boolean
  | readonly MetadataValue[]
  | { readonly [name: string]: MetadataValue };

const NO_SUBSCRIPTION = "00000000-0000-0000-0000-000000000000";

/** Makes the tree under `/metadata/instance`. */
export function instanceMetadataOf(container: WireContainer, place: MetadataPlace): MetadataValue {
  return {
    compute: computeOf(container, place),
    extended: { compute: { hasCustomData: false, ppsType: "None" } },
    network: networkMetadataOf(container),
  };
}

function computeOf(container: WireContainer, place: MetadataPlace): MetadataValue {
  // A host name may not contain the underscore of a role instance's name.
  const computerName = container.roleInstance.replaceAll("_", "-");
  const resourceGroupName = container.deployment.name;
  return {
    azEnvironment: "AzurePublicCloud",
    location: place.location,
    name: container.roleInstance,
    osType: "Linux",
    publisher: "",
    offer: "",
    sku: "",
    version: "",
    subscriptionId: NO_SUBSCRIPTION,
    resourceGroupName,
    zone: "",
    platformFaultDomain: "0",
    platformUpdateDomain: "0",
    // Talos stops on anything that is not of this form.
    resourceId:
      `/subscriptions/${NO_SUBSCRIPTION}/resourceGroups/${resourceGroupName}` +
      `/providers/Microsoft.Compute/virtualMachines/${container.roleInstance}`,
    vmId: container.containerId,
    vmSize: place.vmSize,
    vmScaleSetName: "",
    placementGroupId: "",
    tags: "",
    userData: "",
    osProfile: {
      adminUsername: place.adminUsername,
      computerName,
      disablePasswordAuthentication: "true",
    },
    publicKeys: [],
  };
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
