/** Tells whether a file is still the one that was looked at, without reading it. */

import type { BigIntStats } from "node:fs";

/**
 * Text that changes when the file is written or replaced. The change time is in it, which no program can set, so this
 * also sees a writer that puts the old modification time back.
 */
export function fileStamp(stats: BigIntStats): string {
  const { dev, ino, size, mtimeNs, ctimeNs } = stats;
  return [dev, ino, size, mtimeNs, ctimeNs].join(" ");
}

/** As {@link fileStamp}, but the same after a change of name, links or rights: for what is kept for long. */
export function contentStamp(stats: BigIntStats): string {
  const { ino, size, mtimeNs } = stats;
  return [ino, size, mtimeNs].join(" ");
}
