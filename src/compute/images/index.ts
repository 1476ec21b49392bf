/** Images of containers: fetched, checked, and under a disk of each container's own. */

export { guestBoot, imageBootSource } from "./boot-source.ts";
export { type DiskHeader, decodeDiskHeader } from "./disk-header.ts";
export type { FetchedFile, FileSource } from "./fetch-file.ts";
export type { CachedImage, PruneResult } from "./image-cache.ts";
export {
  type FetchedDisk,
  type FetchedImage,
  type FetchOptions,
  type ImagePart,
  type ImageProgress,
  type ImageStore,
  type ImageStoreOptions,
  openImageStore,
  type PreparedImage,
} from "./image-store.ts";
export type { Overlay, OverlayBase, OverlayOptions } from "./overlay.ts";
