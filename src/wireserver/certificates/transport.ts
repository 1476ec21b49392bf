/** To whom a secret goes: guests send a certificate with each request for one, and may name a cipher. */

import type { IncomingHttpHeaders } from "node:http";
import { type ContentCipher, DEFAULT_CIPHER, findCipher } from "../crypto/envelope.ts";
import { parseTransportCertificate, type Recipient } from "../crypto/recipient.ts";
import { refuse } from "../refusal.ts";

/** Who reads the answer, and how it is encrypted. */
export interface Transport {
  readonly recipient: Recipient;
  readonly cipher: ContentCipher;
}

/**
 * Reads `x-ms-guest-agent-public-x509-cert` and `x-ms-cipher-name`. Without a cipher's name it is AES128_CBC, as
 * WALinuxAgent takes for granted.
 *
 * @throws FabricError ERR_WIRE_CERTIFICATE_REFUSED, ERR_WIRE_REQUEST_MALFORMED
 */
export function readTransport(headers: IncomingHttpHeaders): Transport {
  const name = headers["x-ms-cipher-name"];
  const cipher = name === undefined ? DEFAULT_CIPHER : findCipher(String(name));
  if (cipher === undefined) {
    throw refuse(
      "ERR_WIRE_REQUEST_MALFORMED",
      "x-ms-cipher-name names no cipher; leave it out, or send AES128_CBC or DES_EDE3_CBC",
    );
  }
  const recipient = parseTransportCertificate(headers["x-ms-guest-agent-public-x509-cert"]);
  return { recipient, cipher };
}
