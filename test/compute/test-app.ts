/** A small app folder for tests. */

import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Writes an app with a manifest, a nested file and a link; returns its folder. */
export async function writeTestApp(folder: string): Promise<string> {
  await mkdir(join(folder, "lib"), { recursive: true });
  await writeFile(join(folder, "app.json"), '{ "main": "lib/main.mjs" }\n');
  await writeFile(join(folder, "lib/main.mjs"), 'console.log("hello");\n');
  await symlink("lib/main.mjs", join(folder, "main"));
  return folder;
}
