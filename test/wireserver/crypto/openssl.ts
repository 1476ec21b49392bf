/** The other side of everything here: openssl's command line, as the agents in guests call it. */

import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Runs openssl; rejects with its words if it fails. */
export async function openssl(...args: readonly string[]): Promise<Buffer> {
  const { stdout } = await run("openssl", args, { encoding: "buffer" });
  return stdout;
}

/** A guest's transport certificate and its key, as files. */
export interface Transport {
  readonly certificateFile: string;
  readonly keyFile: string;
  /** PEM. */
  readonly certificate: string;
  /** As guests send it: PEM without its first and last line and without line breaks. */
  readonly header: string;
}

/** Makes a certificate that signs itself; by default as WALinuxAgent does. */
export async function makeTransport(
  folder: string,
  name: string,
  { key = ["rsa:2048"], extra = [] }: { key?: readonly string[]; extra?: readonly string[] } = {},
): Promise<Transport> {
  const certificateFile = join(folder, `${name}.pem`);
  const keyFile = join(folder, `${name}.key`);
  const subject = ["-subj", "/CN=LinuxTransport", "-days", "730"];
  const files = ["-keyout", keyFile, "-out", certificateFile];
  await openssl("req", "-x509", "-nodes", ...subject, "-newkey", ...key, ...extra, ...files);
  const certificate = await readFile(certificateFile, "utf8");
  return { certificateFile, keyFile, certificate, header: headerOf(certificate) };
}

/** A certificate without subject key identifier: its recipient is named by issuer and serial number. */
export const WITHOUT_KEY_IDENTIFIER = {
  extra: ["-addext", "subjectKeyIdentifier=none", "-addext", "authorityKeyIdentifier=none"],
};

/** A PEM certificate as guests send it. */
export function headerOf(certificate: string): string {
  return certificate.replaceAll(/-----[^-]+-----|\s/g, "");
}

/** Decrypts as WALinuxAgent and cloud-init do: four MIME header lines, then the text as it was served. */
export async function decryptAsAgents(
  folder: string,
  data: string,
  { certificateFile, keyFile }: Transport,
): Promise<Buffer> {
  const file = join(folder, "Certificates.p7m");
  const mime = [
    "MIME-Version:1.0",
    'Content-Disposition: attachment; filename="Certificates.p7m"',
    'Content-Type: application/x-pkcs7-mime; name="Certificates.p7m"',
    "Content-Transfer-Encoding: base64",
    "",
    data,
  ];
  await writeFile(file, mime.join("\n"));
  return await openssl(
    ...["cms", "-decrypt", "-in", file, "-inkey", keyFile, "-recip", certificateFile],
  );
}

/** Decrypts DER. */
export async function decryptDer(
  folder: string,
  der: Uint8Array,
  { certificateFile, keyFile }: Transport,
): Promise<Buffer> {
  const file = join(folder, "envelope.der");
  await writeFile(file, der);
  const recipient = ["-inkey", keyFile, "-recip", certificateFile];
  return await openssl("cms", "-decrypt", "-binary", "-inform", "DER", "-in", file, ...recipient);
}
