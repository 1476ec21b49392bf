/** What the control socket answers about tenants, containers and nodes. */
import { z } from "zod";
import { FabricError } from "../../model/errors.ts";
import { parseTenant } from "../../model/tenant.ts";
import type { ControlRoutes } from "../control/control-server.ts";
import { readMacParameter } from "../control/mac-parameter.ts";
import { CONTAINER_ACTIONS, type FabricControl } from "./fabric-control.ts";

const SubmissionSchema = z.object({ tenant: z.unknown(), folder: z.string().startsWith("/") });

/** @param control - the managers of this fabric */
export function tenantRoutes(control: FabricControl): ControlRoutes {
  return (app) => {
    app.get("/v1/tenants", () => control.listTenants());
    app.post("/v1/tenants", ({ body }) => {
      const { tenant, folder } = readSubmission(body);
      return control.submit({ tenant: parseTenant(tenant, "the request"), folder });
    });
    app.delete<{ Params: { tenant: string } }>("/v1/tenants/:tenant", async ({ params }) => {
      await control.deleteTenant(params.tenant);
      return {};
    });
    app.get("/v1/containers", () => control.listContainers());
    app.get<{ Params: { container: string } }>("/v1/containers/:container/why", async (request) => {
      return { why: await control.why(request.params.container) };
    });
    for (const action of CONTAINER_ACTIONS) {
      const path = `/v1/containers/:container/${action}`;
      app.post<{ Params: { container: string } }>(path, async ({ params }) => {
        await control.change(params.container, action);
        return {};
      });
    }
    app.get<{ Params: { mac: string } }>("/v1/macs/:mac", ({ params }) =>
      control.findOwner(readMacParameter(params.mac)),
    );
    app.get("/v1/nodes", () => control.listNodes());
  };
}

function readSubmission(body: unknown): z.infer<typeof SubmissionSchema> {
  const read = SubmissionSchema.safeParse(body);
  if (read.success) return read.data;
  const message = "The request to deploy needs a tenant and an absolute folder";
  throw new FabricError("ERR_USAGE_CONTROL", message);
}
