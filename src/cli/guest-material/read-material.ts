/** Reads what a tenant's description names of files for its guests, once: custom data, user data, certificates, extensions. */
import { open } from "node:fs/promises";
import { resolve } from "node:path";
import type {
  ArtifactReference,
  CertificateMaterial,
  GuestMaterial,
  TenantSubmission,
} from "../../model/documents.ts";
import { errorText, FabricError } from "../../model/errors.ts";
import { CUSTOM_DATA_BYTES_MAX } from "../../model/guest-config.ts";
import type { RoleDescription, TenantDescription } from "../../model/tenant.ts";
import type { ArtifactFolder } from "./artifact-folder.ts";
import { CERTIFICATE_FILE_BYTES_MAX, findCertificate } from "./certificate-file.ts";
import { writePackage } from "./extension-package.ts";

/** Of a submission as JSON: the store keeps it twice in one write while an update begins. */
const SUBMISSION_BYTES_MAX = 400_000;

type Data = NonNullable<NonNullable<RoleDescription["provisioning"]>["customData"]>;

/**
 * Reads it. What it adds to `artifacts` is durable when it resolves.
 *
 * @param folder - what paths are relative to
 * @throws FabricError ERR_USAGE_FILE for data, ERR_USAGE_CERTIFICATE for a certificate, ERR_USAGE_EXTENSION for an extension, each with its place in the tenant;
 * ERR_USAGE_TENANT if all of it is too large
 */
export async function readMaterial(
  tenant: TenantDescription,
  folder: string,
  artifacts: ArtifactFolder,
): Promise<NonNullable<TenantSubmission["material"]>> {
  const material: Record<string, GuestMaterial> = {};
  for (const [index, role] of tenant.roles.entries()) {
    const place = `roles[${index}] (${role.name})`;
    const read = await readRole(role, place, folder, artifacts);
    if (Object.keys(read).length > 0) material[role.name] = read;
  }
  const bytes = Buffer.byteLength(JSON.stringify({ tenant, material }));
  if (bytes > SUBMISSION_BYTES_MAX) {
    const message = `${tenant.tenant}: has ${bytes} bytes with its custom data and its settings, and at most ${SUBMISSION_BYTES_MAX} can be kept; make them smaller, or make two tenants of it`;
    throw new FabricError("ERR_USAGE_TENANT", message);
  }
  return material;
}

async function readRole(
  { certificates, provisioning, extensions }: RoleDescription,
  place: string,
  folder: string,
  artifacts: ArtifactFolder,
): Promise<GuestMaterial> {
  const { customData, userData } = provisioning ?? {};
  const packages: Record<string, ArtifactReference> = {};
  for (const { name, source } of extensions) {
    const path = resolve(folder, source);
    packages[name.toLowerCase()] = await at(`${place}, extension ${name}`, () =>
      artifacts.add((file) => writePackage(path, file)),
    );
  }
  const pairs: Record<string, CertificateMaterial> = {};
  for (const { name, thumbprint, file, password } of certificates) {
    if (file === undefined) continue;
    const path = resolve(folder, file);
    pairs[name] = await at(`${place}, certificate ${name}`, async () =>
      findCertificate(path, await readFile(path, CERTIFICATE_FILE_BYTES_MAX), {
        thumbprint,
        password,
      }),
    );
  }
  const read = (name: string, data: Data) =>
    at(`${place}.provisioning.${name}`, () => readData(data, folder));
  return {
    ...(customData !== undefined && { customData: await read("customData", customData) }),
    ...(userData !== undefined && { userData: await read("userData", userData) }),
    ...(extensions.length > 0 && { packages }),
    ...(Object.keys(pairs).length > 0 && { certificates: pairs }),
  };
}

/** In base64. */
async function readData(data: Data, folder: string): Promise<string> {
  const bytes =
    typeof data === "string" ? Buffer.from(data) : await readFile(resolve(folder, data.file));
  if (bytes.length <= CUSTOM_DATA_BYTES_MAX) return bytes.toString("base64");
  const file = typeof data === "string" ? "" : `${resolve(folder, data.file)} `;
  const message = `${file}is larger than ${CUSTOM_DATA_BYTES_MAX} bytes; fetch the rest from the guest`;
  throw new FabricError("ERR_USAGE_FILE", message);
}

/** One byte more than is allowed at most, so that a device without a size is bounded too. */
async function readFile(path: string, bytesMax = CUSTOM_DATA_BYTES_MAX): Promise<Buffer> {
  try {
    await using file = await open(path);
    if (!(await file.stat()).isFile()) throw new Error("it is no file");
    const buffer = Buffer.alloc(bytesMax + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, length);
      length += bytesRead;
      if (bytesRead === 0 || length === buffer.length) return buffer.subarray(0, length);
    }
  } catch (cause) {
    throw new FabricError("ERR_USAGE_FILE", `Cannot read ${path}`, { cause });
  }
}

async function at<T>(place: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof FabricError)) throw error;
    const text = error.cause === undefined ? error.message : errorText(error);
    throw new FabricError(error.code, `${place}: ${text}`);
  }
}
