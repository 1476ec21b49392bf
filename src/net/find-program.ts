/** Finds programs without running them. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** Folders with administration tools that an ordinary user's PATH lacks on Debian. */
const ADMIN_FOLDERS = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/**
 * The absolute path of a program, or undefined if it is not installed.
 *
 * @param searchPath - folders as in the PATH variable; administration folders are searched too
 */
export function findProgram(name: string, searchPath: string): string | undefined {
  const folders = [...searchPath.split(delimiter), ...ADMIN_FOLDERS].filter(Boolean);
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
