/** Cuts a program's output into lines for the console. */

import { StringDecoder } from "node:string_decoder";

/** A longer line is cut into pieces, so that a program without line ends cannot fill the agent's memory. */
export const LINE_CHARACTERS_MAX = 4_096;

/** Feeds bytes in, gets lines out. */
export interface LineSplitter {
  write(bytes: Uint8Array): void;
  /** Gives out what has no line end. */
  end(): void;
}

/** Makes a splitter. @param onLine - gets each line without its end */
export function createLineSplitter(onLine: (line: string) => void): LineSplitter {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  const take = (text: string) => {
    const lines = (rest + text).split(/\r?\n/);
    rest = lines.pop() ?? "";
    for (const line of lines) for (const piece of pieces(line)) onLine(piece);
    while (rest.length > LINE_CHARACTERS_MAX) {
      onLine(rest.slice(0, LINE_CHARACTERS_MAX));
      rest = rest.slice(LINE_CHARACTERS_MAX);
    }
  };
  return {
    write: (bytes) => take(decoder.write(Buffer.from(bytes))),
    end: () => {
      take(decoder.end());
      if (rest !== "") onLine(rest);
      rest = "";
    },
  };
}

function pieces(line: string): readonly string[] {
  return line.length <= LINE_CHARACTERS_MAX ? [line] : (line.match(/.{1,4096}/gs) ?? []);
}
