/** Accounts that the guest's agent makes for a while, each with its password for this guest's eyes only. */

import type { Transport } from "./certificates/transport.ts";
import { sealPassword } from "./crypto/sealed.ts";
import type { WireContainer } from "./wire-container.ts";
import { XML_DECLARATION, xmlElement, xmlText } from "./xml.ts";

/** Of the document's form, which has not changed. */
const REMOTE_ACCESS_VERSION = 1;

/**
 * Renders `comp=remoteAccessInfo`. Accounts that are over are listed too: the agent compares the time, and removes them.
 *
 * @param transport - of the guest that asks
 */
export function renderRemoteAccess(
  container: WireContainer,
  { recipient, cipher }: Transport,
): string {
  const users = (container.users ?? []).map(({ name, password, expires }) =>
    xmlElement(
      "User",
      {},
      xmlText("Name", name) +
        xmlText("Password", sealPassword(recipient, password, cipher)) +
        xmlText("Expiration", new Date(expires).toUTCString()),
    ),
  );
  return (
    XML_DECLARATION +
    xmlElement(
      "RemoteAccess",
      {},
      xmlText("Version", REMOTE_ACCESS_VERSION) +
        xmlText("Incarnation", container.incarnation) +
        xmlElement("Users", {}, users.join("")),
    )
  );
}
