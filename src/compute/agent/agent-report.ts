/** What a guest's agent uploads of itself and its extensions, within bounds: the guest wrote every word of it. */
import type { ContainerStatus, ExtensionStatus } from "../../model/documents.ts";

export const REPORTED_EXTENSIONS_MAX = 64;
export const REPORTED_MESSAGE_CHARACTERS_MAX = 1024;
const WORD_CHARACTERS_MAX = 128;

/** What the agent said. */
export interface AgentReport {
  readonly version: string;
  /** `Ready` or `NotReady`. */
  readonly status: string;
  readonly message?: string;
  readonly extensions: readonly ExtensionStatus[];
}

/** The parts of a status that the report becomes: whoever calls has not to trust it. */
export function boundReport({
  version,
  status,
  message,
  extensions,
}: AgentReport): Required<Pick<ContainerStatus, "agent" | "extensions">> {
  return {
    agent: { version: word(version), status: word(status), ...boundMessage(message) },
    extensions: extensions.slice(0, REPORTED_EXTENSIONS_MAX).map(boundExtension),
  };
}

function boundExtension(said: ExtensionStatus): ExtensionStatus {
  const { name, version, handler, status, code, message, seqNo } = said;
  return {
    ...{ name: word(name), version: word(version), handler: word(handler) },
    ...(status !== undefined && { status: word(status) }),
    ...(code !== undefined && { code }),
    ...boundMessage(message),
    ...(seqNo !== undefined && { seqNo }),
  };
}

function boundMessage(message: string | undefined): { readonly message?: string } {
  if (message === undefined) return {};
  return { message: plain(message, REPORTED_MESSAGE_CHARACTERS_MAX) };
}

function word(text: string): string {
  return plain(text, WORD_CHARACTERS_MAX);
}

/** One line that a terminal shows as it is. */
function plain(text: string, charactersMax: number): string {
  const line = text.slice(0, charactersMax).toWellFormed();
  return line.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, " ").trim();
}
