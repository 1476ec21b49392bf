/** A role's certificate and its key, out of the file that the tenant names: PEM or PKCS#12. */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import type { CertificateMaterial } from "../../model/documents.ts";
import { errorText, FabricError } from "../../model/errors.ts";
import { type CertificateFile, readPfx } from "../../wireserver/index.ts";

/** A certificate with its key and a chain has some 10 kB. */
export const CERTIFICATE_FILE_BYTES_MAX = 262_144;

const PEM_BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[^-]+-----END \1-----/g;

/**
 * Finds the certificate with a thumbprint, and its key.
 *
 * @param path - for messages only
 * @throws FabricError ERR_USAGE_CERTIFICATE; no message has anything of the file but the thumbprints in it
 */
export function findCertificate(
  path: string,
  file: Uint8Array,
  wanted: { readonly thumbprint: string; readonly password: string | undefined },
): CertificateMaterial {
  if (file.length > CERTIFICATE_FILE_BYTES_MAX) {
    throw refuse(
      `${path} is larger than ${CERTIFICATE_FILE_BYTES_MAX} bytes: it holds more than a certificate`,
    );
  }
  const { certificates, keys } = read(path, file, wanted.password);
  const certificate = certificates.find((each) => thumbprintOf(each) === wanted.thumbprint);
  if (certificate === undefined) {
    const found = certificates.map(thumbprintOf).join(", ") || "no certificate";
    throw refuse(`${path} has ${found}, and not ${wanted.thumbprint}`);
  }
  if (certificate.publicKey.asymmetricKeyType !== "rsa") {
    throw refuse(
      `${path}: its key is no RSA key, and WALinuxAgent takes no other; make one with RSA`,
    );
  }
  const key = keys.find((each) => certificate.checkPrivateKey(each));
  if (key === undefined) {
    throw refuse(
      `${path} has no private key of ${wanted.thumbprint}; add it to the file, or leave file out`,
    );
  }
  return {
    certificate: certificate.toString(),
    privateKey: String(key.export({ type: "pkcs8", format: "pem" })),
  };
}

function read(path: string, file: Uint8Array, password: string | undefined): CertificateFile {
  const isPem = Buffer.from(file).includes("-----BEGIN ");
  try {
    return isPem
      ? readPem(Buffer.from(file).toString("latin1"), password)
      : readPfx(file, password ?? "");
  } catch (cause) {
    const form = isPem ? "PEM" : "PKCS#12";
    throw refuse(`Cannot read ${path} as ${form}: ${errorText(cause)}`);
  }
}

function readPem(text: string, password: string | undefined): CertificateFile {
  const certificates: X509Certificate[] = [];
  const keys: KeyObject[] = [];
  for (const [block, label = ""] of text.matchAll(PEM_BLOCK)) {
    if (label === "CERTIFICATE") certificates.push(new X509Certificate(block));
    if (label.endsWith("PRIVATE KEY")) keys.push(readKey(block, password));
  }
  return { certificates, keys };
}

function readKey(key: string, passphrase: string | undefined): KeyObject {
  try {
    return createPrivateKey({ key, ...(passphrase !== undefined && { passphrase }) });
  } catch (cause) {
    const advice =
      passphrase === undefined ? "if it has a password, give it" : "is the password right?";
    throw new Error(`its private key cannot be read; ${advice}`, { cause });
  }
}

function thumbprintOf({ fingerprint }: X509Certificate): string {
  return fingerprint.replaceAll(":", "");
}

function refuse(message: string): FabricError {
  return new FabricError("ERR_USAGE_CERTIFICATE", message);
}
