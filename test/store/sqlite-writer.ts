/**
 * Child process of sqlite-store.test.ts: writes without end and prints each acknowledged number.
 */
import { openSqliteStore } from "../../src/store/index.ts";

const store = openSqliteStore({ path: process.argv[2]! });
process.stdout.write("open\n");

async function writeForever(writer: number): Promise<void> {
  for (let n = 0; ; n++) {
    const key = `/w/${writer}/${n}`;
    await store.txn({
      compare: [{ key, modRev: 0 }],
      success: [{ kind: "put", key, value: { n } }],
    });
    process.stdout.write(`${key}\n`);
  }
}

await Promise.all([0, 1, 2].map(writeForever));
