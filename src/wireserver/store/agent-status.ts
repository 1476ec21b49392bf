/** Reads what an agent uploads: how it is, and how its extensions are. Untrusted, and bounded before it goes further. */

import { z } from "zod";
import type { AgentStatus } from "../wire-container.ts";

/** Of the extensions in one status; an agent has one entry for each. */
export const STATUS_EXTENSIONS_MAX = 64;
/** The rest of a longer message is cut off. */
export const STATUS_MESSAGE_CHARACTERS_MAX = 1_024;
const WORD_CHARACTERS_MAX = 256;

const Word = z
  .string()
  .transform((text) => text.toWellFormed().slice(0, WORD_CHARACTERS_MAX))
  .nullish();
/** Agents write numbers as numbers or as text, from one release to the next. */
const Count = z.coerce.number().int().nullish().catch(undefined);
const Message = z
  .object({ message: z.string().nullish() })
  .transform(({ message }) => message?.slice(0, STATUS_MESSAGE_CHARACTERS_MAX).toWellFormed())
  .nullish()
  .catch(undefined);

const HandlerSchema = z.object({
  handlerName: z.string().min(1).max(WORD_CHARACTERS_MAX),
  handlerVersion: Word,
  status: Word,
  code: Count,
  formattedMessage: Message,
  runtimeSettingsStatus: z
    .object({
      sequenceNumber: Count,
      settingsStatus: z
        .object({
          status: z.object({ status: Word, code: Count, formattedMessage: Message }).nullish(),
        })
        .nullish(),
    })
    .nullish(),
});

const StatusSchema = z.object({
  aggregateStatus: z.object({
    guestAgentStatus: z.object({ version: Word, status: Word, formattedMessage: Message }),
    handlerAggregateStatus: z.array(z.unknown()).nullish(),
  }),
});

/**
 * Reads a status. An entry of an extension that cannot be read is left out, so that one bad extension hides no other.
 *
 * @param bytes - JSON; blanks and NULs at the end do not count, page blobs are filled up with them
 * @returns undefined if it is no status at all
 */
export function readAgentStatus(bytes: Uint8Array): AgentStatus | undefined {
  const parsed = StatusSchema.safeParse(readJson(bytes));
  if (!parsed.success) return undefined;
  const { guestAgentStatus: agent, handlerAggregateStatus: handlers } = parsed.data.aggregateStatus;
  const message = agent.formattedMessage;
  return {
    version: agent.version ?? "",
    status: agent.status ?? "",
    ...(message && { message }),
    extensions: (handlers ?? []).slice(0, STATUS_EXTENSIONS_MAX).flatMap(readHandler),
  };
}

function readHandler(value: unknown): AgentStatus["extensions"] {
  const parsed = HandlerSchema.safeParse(value);
  if (!parsed.success) return [];
  const { handlerName, handlerVersion, runtimeSettingsStatus, ...handler } = parsed.data;
  const settings = runtimeSettingsStatus?.settingsStatus?.status;
  const code = settings?.code ?? handler.code;
  const message = settings?.formattedMessage || handler.formattedMessage;
  const seqNo = runtimeSettingsStatus?.sequenceNumber;
  return [
    {
      name: handlerName,
      version: handlerVersion ?? "",
      handler: handler.status ?? "",
      ...(settings?.status && { status: settings.status }),
      ...(typeof code === "number" && { code }),
      ...(message && { message }),
      ...(typeof seqNo === "number" && { seqNo }),
    },
  ];
}

function readJson(bytes: Uint8Array): unknown {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return JSON.parse(text.replace(/[\0 ]+$/, ""));
  } catch {
    return undefined;
  }
}
