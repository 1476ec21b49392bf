/** Builds a cache folder aside and renames it into place, so that nobody ever sees half of one. */

import { access, mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { join } from "node:path";

/**
 * Returns the folder `cacheDirectory/name`, first letting `fill` make it if it does not exist. Of two processes that
 * make the same folder at once, the first wins and both use its result.
 */
export async function publishFolder(
  cacheDirectory: string,
  name: string,
  fill: (folder: string) => Promise<void>,
): Promise<string> {
  const folder = join(cacheDirectory, name);
  if (await exists(folder)) return folder;
  await mkdir(cacheDirectory, { recursive: true });
  const aside = await mkdtemp(join(cacheDirectory, `.${name}-`));
  try {
    await fill(aside);
    await rename(aside, folder);
  } catch (error) {
    await rm(aside, { recursive: true, force: true });
    if (!(await exists(folder))) throw error;
  }
  return folder;
}

/** True if `path` can be seen by us. */
export async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
