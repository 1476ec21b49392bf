/** Child process of the tests of remote stores: serves the store in the file argv[2] on the socket argv[3]. */
import { openSqliteStore, serveStore } from "../../src/store/index.ts";

const [, , file, path] = process.argv;
const store = openSqliteStore({ path: file! });
await serveStore({
  store,
  openPath: () => ({ path: path!, [Symbol.dispose]: () => undefined }),
  onFault: (error) => process.stderr.write(`${error.stack}\n`),
});
process.stdout.write("ready\n");
