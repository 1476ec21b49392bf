/** Asks a running fabric over its control socket. */
import { request } from "node:http";
import type { z } from "zod";
import { FabricError } from "../../model/errors.ts";
import { openSocketPath, type SocketPath } from "../../net/socket-path.ts";

/** Name of the socket in the data folder. */
export const CONTROL_SOCKET = "control.sock";

/** The fabric answers from memory: one that takes longer hangs. */
const TIMEOUT_MS = 10_000;
/** Longest answer that is read. */
export const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

/** Codes of a connection that found nobody: no folder, no socket, or one that a killed process left. */
const NOBODY = new Set(["ENOENT", "ENOTDIR", "ECONNREFUSED"]);

/** What commands say when nothing runs at a place. */
export function notRunning(place: string): FabricError {
  const message =
    `No fabric runs on ${place}; start one with 'goalstate serve', ` +
    "or name its data folder with --data";
  return new FabricError("ERR_CONTROL_NOT_RUNNING", message);
}

/**
 * The body that the fabric on a data folder answers to `GET path`.
 *
 * @throws FabricError ERR_CONTROL_NOT_RUNNING, ERR_CONTROL_ACCESS, or ERR_CONTROL_REFUSED with what it answered
 */
export async function askControl(folder: string, path: string): Promise<string> {
  try {
    using socket: SocketPath = openSocketPath(folder, CONTROL_SOCKET);
    return await get(socket.path, path);
  } catch (cause) {
    if (cause instanceof FabricError) throw cause;
    throw connectError(folder, cause);
  }
}

/**
 * The JSON document that the fabric on a data folder answers to `GET path`.
 *
 * @throws FabricError as {@link askControl}, also if the document has another form
 */
export async function askControlFor<T>(
  folder: string,
  path: string,
  schema: z.ZodType<T>,
): Promise<T> {
  const text = await askControl(folder, path);
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    // zod's words would be a page, and no help.
    const message = `The fabric on ${folder} answers in another form; use the command of its version`;
    throw new FabricError("ERR_CONTROL_REFUSED", message);
  }
}

function connectError(folder: string, cause: unknown): FabricError {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  if (NOBODY.has(code)) return notRunning(folder);
  if (code === "EACCES" || code === "EPERM") {
    const message = `The fabric on ${folder} is another user's; run this as the user who started it`;
    return new FabricError("ERR_CONTROL_ACCESS", message);
  }
  const message = `The fabric on ${folder} does not answer`;
  return new FabricError("ERR_CONTROL_REFUSED", message, { cause });
}

function get(socketPath: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, path, agent: false }, (response) => {
      const parts: Buffer[] = [];
      let length = 0;
      response.on("data", (part: Buffer) => {
        parts.push(part);
        length += part.length;
        if (length > ANSWER_BYTES_MAX) asked.destroy(new Error("the answer is too long"));
      });
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(parts).toString("utf8");
        if (response.statusCode === 200) resolve(text);
        else reject(new FabricError("ERR_CONTROL_REFUSED", refusalText(text)));
      });
    });
    asked.setTimeout(TIMEOUT_MS, () => asked.destroy(new Error(`no answer in ${TIMEOUT_MS} ms`)));
    asked.on("error", reject);
    asked.end();
  });
}

function refusalText(body: string): string {
  try {
    const { message } = JSON.parse(body) as { message?: unknown };
    if (typeof message === "string") return `The fabric refused: ${message}`;
  } catch {
    // no JSON: shown as it is
  }
  return `The fabric refused: ${body.slice(0, 200)}`;
}
