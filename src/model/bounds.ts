/** Bounds that several descriptions share. */

/** Of a path in a file that users write. */
export const PATH_CHARACTERS_MAX = 1000;
