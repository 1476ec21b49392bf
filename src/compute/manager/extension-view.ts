/** What is shown of a container's extensions: what is wanted of each, beside what its agent says. Pure functions. */
import type {
  ContainerGoal,
  ContainerStatus,
  ExtensionGoal,
  ExtensionStatus,
} from "../../model/documents.ts";
import { isSameHandler } from "../../model/extension-rules.ts";

/** One extension; the names are a contract of `ps --json`. */
export interface ExtensionView {
  readonly name: string;
  /** That is wanted. */
  readonly version: string;
  /** That is wanted: `enabled`, `disabled` or `uninstall`. */
  readonly state: ExtensionGoal["state"];
  /** What the agent says of the program that runs it; empty while it said nothing. */
  readonly handler: string;
  /** What the extension said: `success`, `error`, `warning`, `transitioning`; empty while it said nothing. */
  readonly status: string;
  readonly code: number | null;
  readonly message: string;
  /** The agent has not done yet what is wanted: what it says is of earlier settings, or it said nothing. */
  readonly pending: boolean;
}

/** @param status - of the container's present VM */
export function extensionViews(
  { extensions = [] }: ContainerGoal,
  status: ContainerStatus | undefined,
): ExtensionView[] {
  return extensions.map((extension) => {
    const { name, version, state } = extension;
    const said = status?.extensions?.find((one) => isSameHandler(one.name, name));
    return {
      ...{ name, version, state },
      handler: said?.handler ?? "",
      status: said?.status ?? "",
      code: said?.code ?? null,
      message: said?.message ?? "",
      pending: isPending(extension, said),
    };
  });
}

/** An agent reports no new number for an extension that it disables, and nothing for one that is gone. */
function isPending(wanted: ExtensionGoal, said: ExtensionStatus | undefined): boolean {
  switch (wanted.state) {
    case "enabled":
      return said?.seqNo !== wanted.seqNo || said.version !== wanted.version;
    case "disabled":
      return said?.handler.toLowerCase() !== "notready";
    case "uninstall":
      return said !== undefined;
  }
}

/** True if it has come to a bad end. */
export function isFailing({ status, pending }: ExtensionView): boolean {
  return !pending && status.toLowerCase() === "error";
}

/** For `why`: the first extension that failed, or those that are still waited for; undefined if all is well. */
export function describeExtensions(views: readonly ExtensionView[]): string | undefined {
  const failing = views.find(isFailing);
  if (failing !== undefined) {
    const { name, code, message } = failing;
    const said = message === "" ? "without a message" : message;
    return `its extension ${name} failed with ${code ?? "no code"}: ${said}`;
  }
  const pending = views.filter((view) => view.pending);
  if (pending.length === 0) return undefined;
  const names = pending.map(({ name, handler, message }) => {
    const said = [handler, message].filter(Boolean).join(": ");
    return said === "" ? name : `${name} (${said})`;
  });
  return `its agent has still to report on ${names.join(", ")}`;
}
