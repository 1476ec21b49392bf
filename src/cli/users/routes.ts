/** What the control socket answers about accounts for a while. */
import { validate } from "../../model/schema.ts";
import type { ControlRoutes } from "../control/control-server.ts";
import { NewUserSchema, type UserControl } from "./user-control.ts";

const PATH = "/v1/tenants/:tenant/roles/:role/users";

interface Role {
  readonly tenant: string;
  readonly role: string;
}

/** @param users - those of this fabric */
export function userRoutes(users: UserControl): ControlRoutes {
  return (app) => {
    app.get<{ Params: Role }>(PATH, ({ params }) => users.list(params));
    app.post<{ Params: Role }>(PATH, ({ params, body }) =>
      users.add(params, validate(NewUserSchema, body, "the user", "ERR_USAGE_USER")),
    );
    app.delete<{ Params: Role & { readonly name: string } }>(`${PATH}/:name`, ({ params }) =>
      users.remove(params, params.name),
    );
  };
}
