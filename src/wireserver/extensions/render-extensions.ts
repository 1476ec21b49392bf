/** What an agent is told of extensions, as text: the XML of the wire server and the JSON of the host plugin. */

import type { WireExtension } from "../wire-container.ts";
import { XML_DECLARATION, xmlElement, xmlText } from "../xml.ts";
import type { ExtensionDocument, ExtensionsDocument } from "./extensions-document.ts";

/** Agents take vmSettings from 1.0.8.133 on; from 1.0.8.159 on they miss signatures of packages. */
const HOST_PLUGIN_RELEASE = "1.0.8.150";
const SETTINGS_SCHEMA_VERSION = "0.0";

/**
 * Renders `type=extensionsConfig`. The list of agent families is empty: WALinuxAgent downloads and runs, as root, any
 * higher version of itself that such a list leads to.
 */
export function renderExtensionsConfig(document: ExtensionsDocument): string {
  const { statusBlob, extensions } = document;
  const families = xmlElement("GAFamilies", {}) + xmlText("Location", document.location);
  return (
    XML_DECLARATION +
    xmlElement(
      "Extensions",
      { version: "1.0.0.0", goalStateIncarnation: document.incarnation },
      xmlElement(
        "GuestAgentExtension",
        { "xmlns:i": "http://www.w3.org/2001/XMLSchema-instance" },
        families,
      ) +
        xmlElement("Plugins", {}, extensions.map(plugin).join("")) +
        xmlElement("PluginSettings", {}, extensions.map(pluginSettings).join("")) +
        xmlText("StatusUploadBlob", statusBlob.url, { statusBlobType: statusBlob.type }) +
        xmlText("InVMArtifactsProfileBlob", document.profileUrl) +
        xmlElement("InVMGoalStateMetaData", {
          inSvdSeqNo: document.incarnation,
          createdOnTicks: String(document.ticks),
          activityId: document.activityId,
          correlationId: document.correlationId,
        }),
    )
  );
}

function plugin({ name, version, manifestUrl, state }: ExtensionDocument): string {
  return xmlElement("Plugin", {
    name,
    version,
    location: manifestUrl,
    failoverlocation: "",
    state,
    autoUpgrade: false,
    runAsStartupTask: false,
    isJson: true,
    useExactVersion: true,
  });
}

/** The version must be that of the plugin exactly, or WALinuxAgent calls the extension misconfigured. */
function pluginSettings(extension: ExtensionDocument): string {
  const { name, version, dependsOn, dependencyLevel, seqNo } = extension;
  const handlers = dependsOn.map((handler) => xmlElement("DependsOnExtension", { handler }));
  return xmlElement(
    "Plugin",
    { name, version },
    (handlers.length === 0 ? "" : xmlElement("DependsOn", { dependencyLevel }, handlers.join(""))) +
      xmlText("RuntimeSettings", runtimeSettings(extension), { seqNo }),
  );
}

function runtimeSettings({ publicSettings, protectedSettings }: ExtensionDocument): string {
  const handlerSettings = {
    publicSettings,
    ...(protectedSettings !== undefined && {
      protectedSettings: protectedSettings.value,
      protectedSettingsCertThumbprint: protectedSettings.thumbprint,
    }),
  };
  return JSON.stringify({ runtimeSettings: [{ handlerSettings }] });
}

/** Renders the answer to `/vmSettings`. */
export function renderVmSettings(document: ExtensionsDocument): string {
  const { statusBlob } = document;
  const fields = {
    hostGAPluginVersion: HOST_PLUGIN_RELEASE,
    vmSettingsSchemaVersion: SETTINGS_SCHEMA_VERSION,
    activityId: document.activityId,
    correlationId: document.correlationId,
    inSvdSeqNo: document.incarnation,
    extensionGoalStatesSource: "FastTrack",
    onHold: false,
    statusUploadBlob: { statusBlobType: statusBlob.type, value: statusBlob.url },
    requiredFeatures: [],
    gaFamilies: [],
    extensionGoalStates: document.extensions.map(extensionGoalState),
  };
  // A number of the size of ticks loses its last digits in JSON.stringify, so they are put in as text.
  return `{"extensionsLastModifiedTickCount":${document.ticks},${JSON.stringify(fields).slice(1)}`;
}

function extensionGoalState(extension: ExtensionDocument): Readonly<Record<string, unknown>> {
  const { publicSettings, protectedSettings, dependsOn, dependencyLevel } = extension;
  return {
    name: extension.name,
    version: extension.version,
    location: extension.manifestUrl,
    failoverLocation: null,
    additionalLocations: [],
    state: extension.state,
    autoUpgrade: false,
    runAsStartupTask: false,
    isJson: true,
    useExactVersion: true,
    settingsSeqNo: extension.seqNo,
    isMultiConfig: false,
    settings: [
      {
        publicSettings: JSON.stringify(publicSettings),
        protectedSettings: protectedSettings?.value ?? null,
        protectedSettingsCertThumbprint: protectedSettings?.thumbprint ?? null,
      },
    ],
    // An empty list makes the agent complain; an extension that waits for none has no list.
    ...(dependsOn.length > 0 && {
      dependsOn: [
        { dependsOnExtension: dependsOn.map((handler) => ({ handler })), dependencyLevel },
      ],
    }),
  };
}

/** Renders the list of an extension's versions, which is the one that the container is to have. */
export function renderManifest({ version }: WireExtension, packageUrl: string): string {
  const uris = xmlElement("Uris", {}, xmlText("Uri", packageUrl));
  const plugins = xmlElement(
    "Plugin",
    {},
    xmlText("Version", version) + xmlText("DisallowMajorVersionUpgrade", "false") + uris,
  );
  return (
    XML_DECLARATION +
    xmlElement(
      "PluginVersionManifest",
      {},
      xmlElement("Plugins", {}, plugins) + xmlElement("InternalPlugins", {}),
    )
  );
}
