/** The images of this machine: all nodes and fabrics of a user share one cache. */
import { join } from "node:path";
import { type ImageStore, openImageStore } from "../../compute/index.ts";

/** @param cacheFolder - where everything that can be made again is kept */
export function openImages(cacheFolder: string): Promise<ImageStore> {
  return openImageStore({ cacheDirectory: join(cacheFolder, "images"), now: Date.now });
}
