/** Child process of `bench/store/run`: serves the store in the file argv[2] on the socket argv[3]. */

import { basename, dirname } from "node:path";
import { openSocketPath } from "../../src/net/socket-path.ts";
import { openSqliteStore, serveStore } from "../../src/store/index.ts";

const [, , file = "", path = ""] = process.argv;
const store = openSqliteStore({ path: file });
await serveStore({ store, openPath: () => openSocketPath(dirname(path), basename(path)) });
process.stdout.write("ready\n");
