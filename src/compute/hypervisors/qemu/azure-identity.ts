/** By what a guest sees that it runs in Azure: its SMBIOS tables and its system UUID. */

const MANUFACTURER = "Microsoft Corporation";
const PRODUCT = "Virtual Machine";
const VERSION = "7.0";
/** The same on every Azure VM; cloud-init and others look for it. */
const CHASSIS_ASSET_TAG = "7783-7084-3265-9085-8269-3286-77";

/** QEMU's arguments for the tables of system, board and chassis. */
export function identityArguments(vmId: string): string[] {
  const maker = `manufacturer=${MANUFACTURER}`;
  const product = `product=${PRODUCT},version=${VERSION}`;
  return [
    ...["-uuid", systemUuid(vmId)],
    ...["-smbios", `type=1,${maker},${product}`],
    ...["-smbios", `type=2,${maker},${product}`],
    ...["-smbios", `type=3,${maker},version=${VERSION},asset=${CHASSIS_ASSET_TAG}`],
  ];
}

/**
 * The system UUID as Linux shows it in /sys/class/dmi/id/product_uuid. On a machine that boots with a BIOS, as all of
 * ours do, Azure shows the first three groups of the VM's id with their bytes in reverse order, and agents there turn
 * them back (cloud-init: byte_swap_system_uuid).
 *
 * @param vmId - a GUID with hyphens
 */
export function systemUuid(vmId: string): string {
  return vmId
    .toLowerCase()
    .split("-")
    .map((group, index) => (index < 3 ? reverseBytes(group) : group))
    .join("-");
}

function reverseBytes(hex: string): string {
  return (hex.match(/../g) ?? []).reverse().join("");
}
