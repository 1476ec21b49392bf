/**
 * `ovf-env.xml` of the provisioning disc: who the guest is and who may log in. Prefixes and order are those that all
 * readers agree on (WALinuxAgent, cloud-init, azure-init, afterburn).
 */
import { createHash } from "node:crypto";
import type { WireProvisioning } from "./wire-container.ts";
import { XML_DECLARATION, xmlElement, xmlText } from "./xml.ts";

const OVF_NAMESPACE = "http://schemas.dmtf.org/ovf/environment/1";
const WA_NAMESPACE = "http://schemas.microsoft.com/windowsazure";
const SECTION_VERSION = xmlText("wa:Version", "1.0");

/** Renders the document. It holds the password in clear, as Azure's does: the disc is the guest's alone. */
export function renderOvfEnvironment(provisioning: WireProvisioning): string {
  return (
    XML_DECLARATION +
    xmlElement(
      "Environment",
      { xmlns: OVF_NAMESPACE, "xmlns:wa": WA_NAMESPACE },
      xmlElement("wa:ProvisioningSection", {}, SECTION_VERSION + configurationSet(provisioning)) +
        xmlElement("wa:PlatformSettingsSection", {}, SECTION_VERSION + settings(provisioning)),
    )
  );
}

function configurationSet(provisioning: WireProvisioning): string {
  const { hostName, adminUsername, adminPassword, sshKeys, customData = "" } = provisioning;
  return xmlElement(
    "LinuxProvisioningConfigurationSet",
    { xmlns: WA_NAMESPACE },
    xmlText("ConfigurationSetType", "LinuxProvisioningConfiguration") +
      xmlText("HostName", hostName) +
      xmlText("UserName", adminUsername) +
      (adminPassword === undefined ? "" : xmlText("UserPassword", adminPassword)) +
      xmlText("DisableSshPasswordAuthentication", String(adminPassword === undefined)) +
      publicKeys(adminUsername, sshKeys) +
      (customData === "" ? "" : xmlText("CustomData", customData)),
  );
}

function publicKeys(user: string, sshKeys: readonly string[]): string {
  if (sshKeys.length === 0) return "";
  const path = user === "root" ? "/root" : `/home/${user}`;
  const keys = sshKeys.map((key) =>
    xmlElement(
      "PublicKey",
      {},
      xmlText("Fingerprint", fingerprint(key)) +
        xmlText("Path", `${path}/.ssh/authorized_keys`) +
        xmlText("Value", key),
    ),
  );
  return xmlElement("SSH", {}, xmlElement("PublicKeys", {}, keys.join("")));
}

/** Of the form that a certificate's has; readers that find a value do not look it up. */
function fingerprint(key: string): string {
  return createHash("sha1").update(key).digest("hex").toUpperCase();
}

/** WALinuxAgent insists on the first; the second true, cloud-init waits for a VM that is never assigned. */
function settings({ guestAgent }: WireProvisioning): string {
  return xmlElement(
    "PlatformSettings",
    { xmlns: WA_NAMESPACE },
    xmlText("ProvisionGuestAgent", String(guestAgent)) + xmlText("PreprovisionedVm", "false"),
  );
}
