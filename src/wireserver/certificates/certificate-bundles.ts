/** The certificates of VMs, as they are served: a PKCS#12 file for each, encrypted for who asks. */

import { encryptEnvelope } from "../crypto/envelope.ts";
import { type PfxEntry, writePfx } from "../crypto/pkcs12-write.ts";
import { GOAL_STATE_VERSION } from "../documents.ts";
import { refuse } from "../refusal.ts";
import type { WireCertificate, WireContainer } from "../wire-container.ts";
import type { WireIdentity, WireVault } from "../wire-host.ts";
import { XML_DECLARATION, xmlElement, xmlText } from "../xml.ts";
import { BoundedMap } from "./bounded-map.ts";
import type { Transport } from "./transport.ts";

/** Some 3.5 kB each without a role's own certificates. A guest asks twice at its start, and seldom again. */
export const BUNDLES_MAX = 512;

/** OpenSSL reads no base64 in one line of this length: "error reading S/MIME content info". */
const LINE_CHARACTERS = 64;
const LINES = new RegExp(`.{1,${LINE_CHARACTERS}}`, "g");

/** What WALinuxAgent takes; any other word makes it skip the bundle. */
const FORMAT = "Pkcs7BlobWithPfxContents";

interface Bundle {
  /** What is in it: it is made again when this changes. */
  readonly contents: string;
  readonly pfx: Promise<Buffer>;
}

/** Keeps the PKCS#12 file of each container that asked lately; the envelope around it is another one for each request. */
export class CertificateBundles {
  readonly #vault: WireVault;
  readonly #bundles = new BoundedMap<Bundle>(BUNDLES_MAX);

  constructor(vault: WireVault) {
    this.#vault = vault;
  }

  /**
   * Renders the answer to `comp=certificates`: the VM's own certificate and its role's, with their keys.
   *
   * @throws FabricError ERR_WIRE_VAULT_UNREADABLE, ERR_WIRE_CERTIFICATE_REFUSED
   */
  async render(container: WireContainer, { recipient, cipher }: Transport): Promise<string> {
    const pfx = await this.#pfxOf(container);
    return renderCertificates(
      container.incarnation,
      encryptEnvelope(recipient, pfx, cipher).toString("base64"),
    );
  }

  async #pfxOf(container: WireContainer): Promise<Buffer> {
    const identity = await readIdentity(this.#vault, container.name);
    const entries = entriesOf(identity, container.certificates ?? []);
    const contents = entries.map(({ certificate }) => certificate).join("");
    const kept = this.#bundles.find(container.name);
    if (kept?.contents === contents) return await kept.pfx;
    const pfx = writePfx(entries);
    this.#bundles.keep(container.name, { contents, pfx });
    // One that could not be made is not kept; who waits for it is told by the same promise.
    pfx.catch(() => this.#bundles.forget(container.name));
    return await pfx;
  }
}

/**
 * Asks the vault for a container's identity.
 *
 * @throws FabricError ERR_WIRE_VAULT_UNREADABLE
 */
export async function readIdentity(vault: WireVault, container: string): Promise<WireIdentity> {
  try {
    return await vault.identityOf(container);
  } catch (cause) {
    const message = "the VM's certificate cannot be read now; ask again";
    throw refuse("ERR_WIRE_VAULT_UNREADABLE", message, cause);
  }
}

/** Each once: a role may name the certificate of another one again. */
function entriesOf(
  identity: WireIdentity,
  certificates: readonly WireCertificate[],
): readonly PfxEntry[] {
  const byThumbprint = new Map<string, PfxEntry>([[identity.thumbprint, identity]]);
  for (const each of certificates) {
    if (!byThumbprint.has(each.thumbprint)) byThumbprint.set(each.thumbprint, each);
  }
  return [...byThumbprint.values()];
}

function renderCertificates(incarnation: number, base64: string): string {
  const lines = base64.match(LINES) ?? [];
  return (
    XML_DECLARATION +
    xmlElement(
      "CertificateFile",
      {},
      xmlText("Version", GOAL_STATE_VERSION) +
        xmlText("Incarnation", incarnation) +
        xmlText("Format", FORMAT) +
        // Base64 needs no escapes, and line breaks must stay as they are.
        `<Data>\n${lines.join("\n")}\n</Data>`,
    )
  );
}
