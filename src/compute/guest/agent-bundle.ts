/** Makes one file of the guest agent, so that the guest needs no node_modules. */

import { build } from "esbuild";
import { errorText, FabricError } from "../../model/errors.ts";

/** CommonJS packages call `require`, which an ECMAScript module does not have. */
const REQUIRE_BANNER =
  'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);';

/**
 * Bundles the module `entry` and everything it imports.
 *
 * @returns the text of an ECMAScript module for Node 26, the same for the same sources
 * @throws FabricError ERR_AGENT_BUNDLE
 */
export async function bundleAgent(entry: string): Promise<Uint8Array> {
  try {
    const result = await build({
      entryPoints: [entry],
      bundle: true,
      platform: "node",
      format: "esm",
      target: "node26",
      banner: { js: REQUIRE_BANNER },
      minifySyntax: true,
      minifyWhitespace: true,
      legalComments: "none",
      logLevel: "silent",
      write: false,
    });
    return result.outputFiles[0]!.contents;
  } catch (cause) {
    throw new FabricError(
      "ERR_AGENT_BUNDLE",
      `Cannot bundle the guest agent ${entry}: ${errorText(cause)}`,
      { cause },
    );
  }
}
