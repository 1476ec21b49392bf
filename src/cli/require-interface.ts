/** The interface that a command was told to use. */
import { FabricError } from "../model/errors.ts";
import type { Link } from "../net/iproute.ts";

/** @throws FabricError ERR_USAGE_INTERFACE if there is no interface of this name, or it is down */
export function requireInterface(name: string, links: readonly Link[]): Link {
  const link = links.find((candidate) => candidate.name === name);
  if (link === undefined) {
    const message = `--interface ${name}: there is no such interface; 'ip link' lists them`;
    throw new FabricError("ERR_USAGE_INTERFACE", message);
  }
  if (!link.isUp) {
    const message = `--interface ${name} is down; bring it up with 'ip link set ${name} up'`;
    throw new FabricError("ERR_USAGE_INTERFACE", message);
  }
  return link;
}
