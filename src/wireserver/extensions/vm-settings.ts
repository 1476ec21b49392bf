/** `/vmSettings`: extensions for an agent that does not wait for the next incarnation. */

import { createHash } from "node:crypto";
import type { WireContainer } from "../wire-container.ts";
import type { WireVault } from "../wire-host.ts";
import type { WireAuthority } from "../wire-urls.ts";
import { extensionsOf } from "./extensions-document.ts";
import { renderVmSettings } from "./render-extensions.ts";
import { sealSettings } from "./sealing.ts";

/** The document, or that it is still the one that the agent has. */
export interface VmSettingsAnswer {
  /** Digits alone: agents make file names of it. */
  readonly etag: string;
  /** Absent: not modified. */
  readonly body?: string;
}

/**
 * Makes the answer.
 *
 * @param ifNoneMatch - the header that the agent sent
 * @throws FabricError ERR_WIRE_VAULT_UNREADABLE
 */
export async function answerVmSettings(
  container: WireContainer,
  authority: WireAuthority,
  vault: WireVault | undefined,
  ifNoneMatch: string | undefined,
): Promise<VmSettingsAnswer> {
  const etag = etagOf(container, authority);
  if (ifNoneMatch !== undefined && ifNoneMatch.replace(/^W\//, "").replaceAll('"', "") === etag) {
    return { etag };
  }
  const sealed = await sealSettings(vault, container);
  return { etag, body: renderVmSettings(extensionsOf(container, authority, sealed)) };
}

/** Of the settings as they are before they are sealed: sealed, they differ each time. */
function etagOf(container: WireContainer, authority: WireAuthority): string {
  const open = new Map(
    (container.extensions ?? []).map(({ name, protectedSettings }) => [
      name,
      { value: JSON.stringify(protectedSettings), thumbprint: "" },
    ]),
  );
  const text = renderVmSettings(extensionsOf(container, authority, open));
  return String(createHash("sha256").update(text).digest().readBigUInt64BE());
}
