/** A node that does nothing but keep a wire process; for the test that kills it. Arguments: label, folder. */
import { pino } from "pino";
import { startWireProcess } from "../../src/cli/wire-process/wire-process.ts";

const [, , label = "", folder = ""] = process.argv;
const refuse = async () => Promise.reject(new Error("there is none"));
const wire = await startWireProcess({
  ...{ label, folder, log: pino({ level: "silent" }) },
  ...{ vault: { identityOf: refuse }, attester: { attest: refuse }, artifacts: { read: refuse } },
  takeTrace: () => true,
});
await wire.ready;
process.stdout.write(`wire process ${wire.pid} runs\n`);
