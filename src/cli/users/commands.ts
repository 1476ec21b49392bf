/** `goalstate user`: accounts for a while in the guests of a role. */
import { randomBytes } from "node:crypto";
import { text } from "node:stream/consumers";
import { type Command, InvalidArgumentError } from "commander";
import { ask, DATA, JSON_OUTPUT, type Look, type LookSurroundings, show } from "../look.ts";
import { parseDuration } from "../parse-duration.ts";
import { renderTable } from "../table.ts";
import { type RoleName, UserChangeSchema, UserViewsSchema } from "./user-control.ts";

const PASSWORD_BYTES = 15;

/** What the commands take from their surroundings. */
export interface UserSurroundings extends LookSurroundings {
  readonly input: NodeJS.ReadableStream;
  /** Epoch milliseconds. */
  readonly now: () => number;
}

interface Add extends Look {
  readonly expires: number;
  readonly passwordStdin?: boolean;
}

/** Adds the commands. */
export function addUserCommands(program: Command, options: UserSurroundings): void {
  const user = program
    .command("user")
    .description("accounts that agents make in the guests of a role, and remove in time");
  user
    .command("add")
    .description("add an account, or give it a new password and time; its password is printed")
    .argument("<role>", "as TENANT/ROLE, for example hello/web", parseRole)
    .argument("<name>", "Linux user name")
    .option(...DATA)
    .requiredOption("--expires <time>", "after how long it goes, as 30m or 8h", parseDuration)
    .option("--password-stdin", "read the password from the first line of standard input")
    .action((role: RoleName, name: string, add: Add) => addUser(role, name, add, options));
  user
    .command("remove")
    .description("remove an account")
    .argument("<role>", "as TENANT/ROLE", parseRole)
    .argument("<name>", "as user list shows it")
    .option(...DATA)
    .action(async (role: RoleName, name: string, look: Look) => {
      const path = `${pathOf(role)}/${encodeURIComponent(name)}`;
      const { kind } = await ask({ method: "DELETE", path }, UserChangeSchema, look, options);
      options.print(`${name}: ${kind === "unchanged" ? "was not there" : "is being removed"}`);
    });
  user
    .command("list")
    .description("the accounts of a role")
    .argument("<role>", "as TENANT/ROLE", parseRole)
    .option(...DATA)
    .option(...JSON_OUTPUT)
    .action(async (role: RoleName, look: Look) => {
      const views = await ask(pathOf(role), UserViewsSchema, look, options);
      const rows = views.map(({ name, expires }) => [name, expires]);
      show(look, options, views, renderTable([["NAME", "EXPIRES"], ...rows]));
    });
}

async function addUser(
  role: RoleName,
  name: string,
  { expires: seconds, passwordStdin, ...look }: Add,
  options: UserSurroundings,
): Promise<void> {
  const isGiven = passwordStdin === true;
  const password = isGiven
    ? ((await text(options.input)).split(/\r?\n/)[0] ?? "")
    : randomBytes(PASSWORD_BYTES).toString("base64url");
  const expires = new Date(options.now() + seconds * 1000).toISOString();
  const body = { name, password, expires };
  await ask({ method: "POST", path: pathOf(role), body }, UserChangeSchema, look, options);
  options.print(`${name}: until ${expires}${isGiven ? "" : `, password ${password}`}`);
}

function pathOf({ tenant, role }: RoleName): string {
  return `/v1/tenants/${encodeURIComponent(tenant)}/roles/${encodeURIComponent(role)}/users`;
}

/** @throws InvalidArgumentError */
function parseRole(argument: string): RoleName {
  const [tenant = "", role = "", ...rest] = argument.split("/");
  if (tenant === "" || role === "" || rest.length > 0) {
    throw new InvalidArgumentError("It must be TENANT/ROLE, for example hello/web.");
  }
  return { tenant, role };
}
