/** Bounds of the package of a VM extension. */

/** Of the zip. */
export const PACKAGE_BYTES_MAX = 100 * 1024 * 1024;
/** Of all files in it. */
export const UNPACKED_BYTES_MAX = 512 * 1024 * 1024;
export const PACKAGE_ENTRIES_MAX = 10_000;
