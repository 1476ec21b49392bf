/** Encrypts the protected settings of a container's extensions to its VM's certificate. */

import { readIdentity } from "../certificates/certificate-bundles.ts";
import { sealProtectedSettings } from "../crypto/sealed.ts";
import { refuse } from "../refusal.ts";
import type { WireContainer } from "../wire-container.ts";
import type { WireIdentity, WireVault } from "../wire-host.ts";
import type { SealedSettings } from "./extensions-document.ts";

/**
 * Reads a VM's identity.
 *
 * @throws FabricError ERR_WIRE_VAULT_UNREADABLE
 */
export async function requireIdentity(
  vault: WireVault | undefined,
  { name }: WireContainer,
): Promise<WireIdentity> {
  if (vault !== undefined) return readIdentity(vault, name);
  throw refuse("ERR_WIRE_VAULT_UNREADABLE", "this host keeps no certificates of VMs");
}

/**
 * Seals what is protected, by the extension's name. The text is another one each time, and agents know that.
 *
 * @throws FabricError ERR_WIRE_VAULT_UNREADABLE
 */
export async function sealSettings(
  vault: WireVault | undefined,
  container: WireContainer,
): Promise<ReadonlyMap<string, SealedSettings>> {
  const { extensions = [] } = container;
  if (extensions.every((each) => each.protectedSettings === undefined)) return new Map();
  const identity = await requireIdentity(vault, container);
  const { thumbprint } = identity;
  return new Map(
    extensions.flatMap(({ name, protectedSettings }) =>
      protectedSettings === undefined
        ? []
        : [[name, { value: sealProtectedSettings(identity, protectedSettings), thumbprint }]],
    ),
  );
}
