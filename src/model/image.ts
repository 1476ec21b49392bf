/**
 * What a container boots from, as users write it in a tenant file: a path or URL, or an object with a checksum, a
 * format and a kernel. It stays plain JSON, and what the schema returns is valid input of the schema again.
 */
import { createHash } from "node:crypto";
import { resolve } from "node:path";
import { z } from "zod";
import { PATH_CHARACTERS_MAX } from "./bounds.ts";

const URL_CHARACTERS_MAX = 4096;
/** Linux on x86-64 has 2048 bytes with the final zero, and the fabric adds words of its own. */
const CMDLINE_CHARACTERS_MAX = 1536;
const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;
const SHA256 = /^[0-9a-f]{64}$/i;

/** Formats of a disk, in the words of a tenant file. */
export const DISK_FORMATS = ["raw", "qcow2", "vhd"] as const;
/** The format of a disk. `vhd` is what QEMU calls vpc. */
export type DiskFormat = (typeof DISK_FORMATS)[number];

const PathSchema = z
  .string()
  .min(1, "is empty; name a file")
  .max(PATH_CHARACTERS_MAX, `is longer than ${PATH_CHARACTERS_MAX} characters`)
  .refine((path) => !SCHEME.test(path), {
    error: 'is a URL; write "url:" for http(s), and a plain path instead of file://',
  })
  .refine(hasNoControls, { error: "has a control character" });

const UrlSchema = z
  .string()
  .max(URL_CHARACTERS_MAX, `is longer than ${URL_CHARACTERS_MAX} characters`)
  .transform((text, context): string => {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    const fault = urlFault(url);
    if (url !== undefined && fault === undefined) {
      url.hash = "";
      return url.href;
    }
    context.issues.push({ code: "custom", message: fault ?? "is no URL", input: text });
    return z.NEVER;
  });

const Sha256Schema = z
  .string()
  .regex(SHA256, "is no SHA-256 sum: 64 hexadecimal digits, as sha256sum prints them")
  .toLowerCase();

const PLACE = { path: PathSchema.optional(), url: UrlSchema.optional() };

const ImageFileObjectSchema = z
  .strictObject({ ...PLACE, sha256: Sha256Schema.optional() })
  .refine(hasOnePlace, { error: 'needs either "path" or "url"' });

/** A kernel or an initial RAM file system: a path or URL, or an object with one and a checksum. */
const ImageFileSchema = z.preprocess(placeOfText, ImageFileObjectSchema);

const ImageObjectSchema = z
  .strictObject({
    ...PLACE,
    sha256: Sha256Schema.optional(),
    /** Told by the content where it is absent; refused where the content says otherwise. */
    format: z
      .enum(DISK_FORMATS, {
        error: `is none of ${DISK_FORMATS.join(", ")}; leave it out to detect it`,
      })
      .optional(),
    /** Booted directly, with the disk as the first one or without a disk. */
    kernel: ImageFileSchema.optional(),
    initrd: ImageFileSchema.optional(),
    cmdline: z
      .string()
      .max(CMDLINE_CHARACTERS_MAX, `is longer than ${CMDLINE_CHARACTERS_MAX} characters`)
      .refine(hasNoControls, { error: "has a control character; write it on one line" })
      .optional(),
  })
  .superRefine((image, context) => {
    const issue = (path: string[], message: string): void =>
      context.addIssue({ code: "custom", path, message });
    const hasDisk = image.path !== undefined || image.url !== undefined;
    if (image.path !== undefined && image.url !== undefined) {
      issue(["url"], 'is there beside "path"; keep one of them');
    }
    if (!hasDisk && image.kernel === undefined) issue([], 'needs "path", "url" or "kernel"');
    if (!hasDisk && image.sha256 !== undefined) {
      issue(["sha256"], "is of the disk, and there is none; write the kernel's inside kernel");
    }
    if (!hasDisk && image.format !== undefined)
      issue(["format"], "is of a disk, and there is none");
    if (image.kernel !== undefined) return;
    if (image.initrd !== undefined) issue(["initrd"], 'needs "kernel" too');
    if (image.cmdline !== undefined) issue(["cmdline"], 'needs "kernel" too');
  });

/** What a role boots from. A string is short for `{ path }` or `{ url }`. */
export const ImageSchema = z.preprocess(placeOfText, ImageObjectSchema);

/** An image as the schema returns it: exactly one of `path` and `url` for a disk, or neither beside `kernel`. */
export type ImageDescription = z.output<typeof ImageObjectSchema>;
/** One file of an image: exactly one of `path` and `url`. */
export type ImageFile = z.output<typeof ImageFileObjectSchema>;

/** The image with its paths absolute; they are relative to `folder`, that of the tenant file. */
export function resolveImagePaths(image: ImageDescription, folder: string): ImageDescription {
  const absolute = <T extends ImageFile>(file: T): T =>
    file.path === undefined ? file : { ...file, path: resolve(folder, file.path) };
  return {
    ...absolute(image),
    ...(image.kernel && { kernel: absolute(image.kernel) }),
    ...(image.initrd && { initrd: absolute(image.initrd) }),
  };
}

/**
 * 16 hexadecimal digits that differ between two descriptions of a disk. In the name of a container's disk they make a
 * changed image a new disk, while a restart finds its old one. Kernel, initrd and command line do not count.
 */
export function imageIdentity(image: ImageDescription): string {
  const parts = [image.path, image.url, image.sha256, image.format];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 16);
}

/** A URL for people and logs: without its query, which may be a signature. */
export function displayUrl(text: string): string {
  const url = new URL(text);
  return `${url.origin}${url.pathname}${url.search === "" ? "" : "?..."}`;
}

function placeOfText(value: unknown): unknown {
  if (typeof value !== "string") return value;
  return SCHEME.test(value) && !/^file:/i.test(value) ? { url: value } : { path: value };
}

function hasOnePlace(file: { path?: string | undefined; url?: string | undefined }): boolean {
  return (file.path === undefined) !== (file.url === undefined);
}

function hasNoControls(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
  return !/[\u0000-\u001f\u007f]/.test(text);
}

function urlFault(url: URL | undefined): string | undefined {
  if (url === undefined) return "is no URL, for example https://example.org/image.qcow2";
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    return `has the scheme ${url.protocol.slice(0, -1)}; images are read from http and https, and from a path`;
  }
  if (url.username !== "" || url.password !== "") {
    return "has a user name or password, which listings would show; use a signed URL or a local file";
  }
  return undefined;
}
