/** Images on a node: brings them here, checks them, and lays a disk of its own over them for each container. */

import { resolve } from "node:path";
import { FabricError } from "../../model/errors.ts";
import {
  type DiskFormat,
  displayUrl,
  type ImageDescription,
  type ImageFile,
} from "../../model/image.ts";
import type { DownloadTiming } from "./download.ts";
import { type FetchedFile, type FileSource, fetchFile } from "./fetch-file.ts";
import { type CachedImage, ImageCache, type PruneResult } from "./image-cache.ts";
import { DiskInspector } from "./inspect-disk.ts";
import { KeyedQueue } from "./keyed-queue.ts";
import {
  createOverlay,
  findOverlay,
  type Overlay,
  type OverlayBase,
  type OverlayOptions,
  removeOverlay,
} from "./overlay.ts";
import { SharedJobs } from "./shared-jobs.ts";

const STALL_MS = 30_000;
const RETRY_MS = 1000;
/** Downloaded files beyond this that no disk needs are removed after a download: 64 GiB. */
const CACHE_BYTES_MAX = 2 ** 36;

/** How to open a store. */
export interface ImageStoreOptions {
  /** For downloads; may be shared by several processes of one user. It is made if it does not exist. */
  readonly cacheDirectory: string;
  /** Epoch milliseconds. */
  readonly now: () => number;
  /** What downloads that no disk needs may take together. */
  readonly cacheBytesMax?: number | undefined;
  readonly timing?: Partial<DownloadTiming> | undefined;
}

/** A part of an image. */
export type ImagePart = "disk" | "kernel" | "initrd";

/** How far a part is. A local file is read only for its checksum. */
export interface ImageProgress {
  readonly part: ImagePart;
  readonly bytes: number;
  /** Absent while the server has not said it. */
  readonly totalBytes?: number;
}

/** What waiting for an image needs. */
export interface FetchOptions {
  readonly signal: AbortSignal;
  readonly onProgress?: ((progress: ImageProgress) => void) | undefined;
}

/** A disk image that is here and was checked; never to be written. */
export interface FetchedDisk extends OverlayBase, FetchedFile {
  readonly format: DiskFormat;
}

/** An image that is here. */
export interface FetchedImage {
  readonly disk?: FetchedDisk;
  readonly kernel?: FetchedFile;
  readonly initrd?: FetchedFile;
  readonly cmdline?: string;
}

/** What a container boots from. */
export interface PreparedImage {
  /** Its own, writable disk; absent for an image without a disk. */
  readonly overlay?: Overlay;
  /** Paths. */
  readonly kernel?: string;
  readonly initrd?: string;
  readonly cmdline?: string;
  /** What was found or made, for the boot trace. */
  readonly evidence: Readonly<Record<string, string | number>>;
}

/** Images on this node. Paths in images are absolute: see resolveImagePaths(). */
export interface ImageStore {
  /**
   * Does all that a start of a container needs: keeps its disk if it has one, which asks no server, else fetches the
   * image and makes one; fetches kernel and initrd. May be repeated after any failure.
   *
   * @throws FabricError as fetch() and createOverlay()
   */
  prepare(
    image: ImageDescription,
    options: FetchOptions & Omit<OverlayOptions, "signal">,
  ): Promise<PreparedImage>;
  /**
   * Makes all files of the image ready.
   *
   * @throws FabricError ERR_IMAGE_FILE, ERR_IMAGE_CHECKSUM, ERR_IMAGE_DOWNLOAD, ERR_IMAGE_SPACE, ERR_IMAGE_FORMAT,
   *   ERR_TOOL_MISSING; the signal's reason
   */
  fetch(image: ImageDescription, options: FetchOptions): Promise<FetchedImage>;
  /**
   * The container's disk at `path`: the one that is there, whatever it lies over, else a new one over `base`.
   *
   * @throws FabricError ERR_IMAGE_SIZE, ERR_IMAGE_BASE, ERR_IMAGE_OVERLAY, ERR_TOOL_MISSING, ERR_TOOL_FAILED
   */
  createOverlay(base: OverlayBase, options: OverlayOptions): Promise<Overlay>;
  /**
   * The container's disk at `path`, or undefined.
   *
   * @throws FabricError ERR_IMAGE_BASE, ERR_IMAGE_OVERLAY
   */
  findOverlay(path: string, signal: AbortSignal): Promise<Overlay | undefined>;
  /** Removes a container's disk and its claim on the cache; none is no error. No VM may use it. */
  removeOverlay(path: string): Promise<void>;
  /** Downloaded files, the one that was used longest ago first. */
  list(): Promise<CachedImage[]>;
  /** Removes downloads that no disk lies over, until all have at most `bytesMax`; keeps what was used minutes ago. */
  prune(options: { readonly bytesMax: number; readonly signal: AbortSignal }): Promise<PruneResult>;
}

/** Opens the store on a cache folder. Nothing needs to be closed. */
export async function openImageStore(options: ImageStoreOptions): Promise<ImageStore> {
  const cache = await ImageCache.open(resolve(options.cacheDirectory), options.now);
  return new CachedImageStore(cache, options);
}

class CachedImageStore implements ImageStore {
  readonly #cache: ImageCache;
  readonly #options: ImageStoreOptions;
  readonly #jobs = new SharedJobs<FetchedFile>();
  /** By path of a disk: an attempt that was given up may still be busy with it when the next one comes. */
  readonly #disks = new KeyedQueue();
  readonly #inspector = new DiskInspector();

  constructor(cache: ImageCache, options: ImageStoreOptions) {
    this.#cache = cache;
    this.#options = options;
  }

  async prepare(
    image: ImageDescription,
    options: FetchOptions & Omit<OverlayOptions, "signal">,
  ): Promise<PreparedImage> {
    const { path: _path, url: _url, sha256: _sum, format: _format, ...direct } = image;
    const disk = hasDisk(image) ? await this.#prepareDisk(image, options) : undefined;
    const { kernel, initrd, cmdline } = await this.fetch(direct, options);
    return {
      ...(disk && { overlay: disk.overlay }),
      ...(kernel && { kernel: kernel.path }),
      ...(initrd && { initrd: initrd.path }),
      ...(cmdline !== undefined && { cmdline }),
      evidence: {
        ...disk?.evidence,
        ...(kernel && { kernel: kernel.shown, kernelSource: kernel.source }),
        ...(initrd && { initrd: initrd.shown, initrdSource: initrd.source }),
      },
    };
  }

  async fetch(image: ImageDescription, options: FetchOptions): Promise<FetchedImage> {
    const [disk, kernel, initrd] = await Promise.all([
      hasDisk(image) ? this.#fetchDisk(image, options) : undefined,
      image.kernel && this.#fetchFile("kernel", image.kernel, options),
      image.initrd && this.#fetchFile("initrd", image.initrd, options),
    ]);
    const { cmdline } = image;
    return {
      ...(disk && { disk }),
      ...(kernel && { kernel }),
      ...(initrd && { initrd }),
      ...(cmdline !== undefined && { cmdline }),
    };
  }

  async createOverlay(base: OverlayBase, options: OverlayOptions): Promise<Overlay> {
    const { path, signal } = options;
    return await this.#disks.run(path, async () => {
      signal.throwIfAborted();
      const existing = await this.findOverlay(path, signal);
      return existing ?? (await createOverlay(this.#cache, base, options));
    });
  }

  async findOverlay(path: string, signal: AbortSignal): Promise<Overlay | undefined> {
    return await findOverlay(this.#cache, path, signal);
  }

  async removeOverlay(path: string): Promise<void> {
    await this.#disks.run(path, () => removeOverlay(this.#cache, path));
  }

  async list(): Promise<CachedImage[]> {
    return await this.#cache.list();
  }

  async prune(options: {
    readonly bytesMax: number;
    readonly signal: AbortSignal;
  }): Promise<PruneResult> {
    return await this.#cache.prune(options.bytesMax, options.signal);
  }

  async #prepareDisk(
    image: ImageDescription,
    options: FetchOptions & Omit<OverlayOptions, "signal">,
  ): Promise<{ overlay: Overlay; evidence: Record<string, string | number> }> {
    const kept = await this.#findKept(image, options);
    if (kept !== undefined)
      return { overlay: kept, evidence: evidenceOf(image, kept, "kept disk") };
    const base = await this.#fetchDisk(image, options);
    const overlay = await this.createOverlay(base, options);
    return { overlay, evidence: evidenceOf(image, overlay, base.source, base) };
  }

  /** A removed cache is filled again: the same content has the same name there. */
  async #findKept(
    image: ImageDescription,
    options: FetchOptions & { readonly path: string },
  ): Promise<Overlay | undefined> {
    const { path, signal } = options;
    try {
      return await this.findOverlay(path, signal);
    } catch (error) {
      const isGone = error instanceof FabricError && error.code === "ERR_IMAGE_BASE";
      if (!isGone || image.url === undefined) throw error;
      await this.#fetchDisk(image, options);
      return await this.findOverlay(path, signal);
    }
  }

  async #fetchDisk(image: ImageDescription, options: FetchOptions): Promise<FetchedDisk> {
    const { path, url, sha256, format } = image;
    const file = await this.#fetchFile("disk", { path, url, sha256 }, options);
    const { shown } = file;
    const { signal } = options;
    const disk = await this.#inspector.inspect(file.path, { shown, declared: format, signal });
    return { ...file, ...disk };
  }

  async #fetchFile(part: ImagePart, file: ImageFile, options: FetchOptions): Promise<FetchedFile> {
    const { now, timing } = this.#options;
    const { signal, onProgress } = options;
    const key = JSON.stringify([file.path, file.url, file.sha256]);
    const progress = (bytes: number, totalBytes: number | undefined): void =>
      onProgress?.({ part, bytes, ...(totalBytes !== undefined && { totalBytes }) });
    return await this.#jobs.run(key, { signal, onProgress: progress }, async (jobSignal, say) => {
      const fetched = await fetchFile(file, {
        cache: this.#cache,
        timing: { stallMs: STALL_MS, retryMs: RETRY_MS, ...timing },
        now,
        signal: jobSignal,
        progress: say,
      });
      if (fetched.source === "download") await this.#prune(jobSignal);
      return fetched;
    });
  }

  async #prune(signal: AbortSignal): Promise<void> {
    await this.#cache.prune(this.#options.cacheBytesMax ?? CACHE_BYTES_MAX, signal);
  }
}

function hasDisk(image: ImageDescription): boolean {
  return image.path !== undefined || image.url !== undefined;
}

function evidenceOf(
  image: ImageDescription,
  overlay: Overlay,
  source: FileSource | "kept disk",
  base?: FetchedDisk,
): Record<string, string | number> {
  return {
    image: base?.shown ?? shownDisk(image),
    imageSource: source,
    format: overlay.base.format,
    diskBytes: overlay.virtualBytes,
    ...(base?.sha256 !== undefined && { sha256: base.sha256 }),
  };
}

function shownDisk({ path, url }: ImageDescription): string {
  return path ?? (url === undefined ? "" : displayUrl(url));
}
