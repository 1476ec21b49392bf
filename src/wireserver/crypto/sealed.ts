/** What documents carry that only one guest may read: extension settings and passwords. */

import type { WireIdentity } from "../wire-host.ts";
import { type ContentCipher, DEFAULT_CIPHER, encryptEnvelope } from "./envelope.ts";
import { type Recipient, recipientOf } from "./recipient.ts";

/** As Windows writes UTF-16; WALinuxAgent takes it for little endian. */
const BYTE_ORDER_MARK = "\uFEFF";

/**
 * Encrypts an extension's protected settings to the VM's own certificate. The extension's settings name that certificate
 * by its thumbprint (`protectedSettingsCertThumbprint`), and the extension decrypts them itself.
 *
 * @returns base64 in one piece, DER of the CMS below it; another text at each call
 */
export function sealProtectedSettings(
  identity: Pick<WireIdentity, "certificate">,
  settings: Readonly<Record<string, unknown>>,
): string {
  const json = Buffer.from(JSON.stringify(settings));
  const recipient = recipientOf(identity.certificate);
  return encryptEnvelope(recipient, json, DEFAULT_CIPHER).toString("base64");
}

/**
 * Encrypts the password of a remote user to the transport certificate of the guest that asks.
 *
 * @returns base64 in one piece, DER of the CMS below it, UTF-16 little endian with its mark inside
 */
export function sealPassword(
  recipient: Recipient,
  password: string,
  cipher: ContentCipher = DEFAULT_CIPHER,
): string {
  const text = Buffer.from(BYTE_ORDER_MARK + password, "utf16le");
  return encryptEnvelope(recipient, text, cipher).toString("base64");
}
