/** What the control socket answers about faults on demand. */
import { z } from "zod";
import { FabricError } from "../../model/errors.ts";
import type { ControlRoutes } from "../control/control-server.ts";
import type { FaultControl, FaultsView } from "./fault-control.ts";
import { listPlaybooks, parsePlaybook, readShippedPlaybook } from "./playbooks.ts";

const PATH = "/v1/containers/:container/fault";
const RequestSchema = z.union([
  z.strictObject({ playbook: z.unknown() }),
  z.strictObject({ name: z.string() }),
]);

interface Named {
  readonly Params: { readonly container: string };
}

/** Sets (`POST`, with a playbook or the name of a shipped one), ends (`DELETE`) and lists them. */
export function faultRoutes(control: FaultControl): ControlRoutes {
  return (app) => {
    app.get("/v1/faults", async (): Promise<FaultsView> => {
      const playbooks = listPlaybooks().map(({ name, story, clients }) => {
        return { name, story, clients };
      });
      return { on: await control.list(), playbooks };
    });
    app.post<Named>(PATH, ({ params, body }) => {
      const read = RequestSchema.safeParse(body);
      if (!read.success) {
        const message = 'The request to set a fault needs a "playbook", or the "name" of one';
        throw new FabricError("ERR_USAGE_CONTROL", message);
      }
      const playbook =
        "name" in read.data
          ? readShippedPlaybook(read.data.name)
          : parsePlaybook(read.data.playbook, "the request");
      return control.set(params.container, playbook);
    });
    app.delete<Named>(PATH, async ({ params }) => {
      return { cleared: await control.clear(params.container) };
    });
  };
}
