/** `boot:` of an inventory: what a physical host's boot ROM, HTTP boot client or iPXE loads. */
import { z } from "zod";
import { BOOT_ARCHITECTURES, type BootProfile, createBootProfile } from "../dhcp/index.ts";
import { Ipv4Schema } from "../model/schema.ts";

/** What RFC 2132 option 67 and every ROM can carry. */
const FileSchema = z
  .string()
  .regex(/^[!-~]{1,254}$/, "must be 1 to 254 printable ASCII characters without blanks");

const UriSchema = FileSchema.regex(
  /^https?:\/\/[^/]/i,
  "must be an http:// or https:// URI; HTTP boot loads nothing else",
);

const isHttp = (architecture: string): boolean => architecture.startsWith("http-");

const FilesSchema = z.strictObject(
  Object.fromEntries(
    BOOT_ARCHITECTURES.map((name) => [name, (isHttp(name) ? UriSchema : FileSchema).optional()]),
  ) as Record<(typeof BOOT_ARCHITECTURES)[number], z.ZodOptional<z.ZodString>>,
);

/**
 * The TFTP server, a file name or URI by architecture, and iPXE's script. A PXE ROM that is named no server asks the one
 * that gave it its address, and that is not a TFTP server here.
 */
export const BootSchema = FilesSchema.extend({
  server: Ipv4Schema.optional(),
  ipxe: FileSchema.optional(),
}).superRefine(({ server, ipxe, ...files }, context) => {
  if (server !== undefined) return;
  const byTftp = Object.entries(files).find(([name, file]) => !isHttp(name) && file !== undefined);
  const needs = byTftp?.[0] ?? (ipxe !== undefined && !ipxe.includes("://") ? "ipxe" : undefined);
  if (needs === undefined) return;
  const message = `is missing; it is the TFTP server that has the file of ${needs}`;
  context.addIssue({ code: "custom", path: ["server"], message });
});

export type BootFiles = z.infer<typeof BootSchema>;

/** Encodes `boot:`; undefined if it names nothing to boot. */
export function bootProfileOf(description: BootFiles): BootProfile | undefined {
  const { server, ipxe, ...files } = description;
  const profile = createBootProfile({
    files: Object.fromEntries(Object.entries(files).filter(([, file]) => file !== undefined)),
    ...(server !== undefined && { server }),
    ...(ipxe !== undefined && { ipxe }),
  });
  return profile.images.size === 0 ? undefined : profile;
}
