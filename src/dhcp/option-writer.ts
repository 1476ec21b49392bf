/** Writes options in place: whole ones, or none. */

import { OPTION_DATA_MAX } from "./options.ts";

/** Octets of an option with four octets of data. */
export const NUMBER_OPTION_BYTES = 6;

/** Where the next option goes, and where the options must end. */
export interface OptionWriter {
  readonly bytes: Uint8Array;
  cursor: number;
  /** Index after the last octet that may be used. */
  limit: number;
}

/** Writes an encoded option if it fits, else nothing: a truncated option is worse than none. */
export function writeWhole(writer: OptionWriter, option: Uint8Array): boolean {
  if (writer.cursor + option.length > writer.limit) return false;
  writer.bytes.set(option, writer.cursor);
  writer.cursor += option.length;
  return true;
}

/** Writes ASCII text, cut at 255 characters, if it fits. */
export function writeText(writer: OptionWriter, code: number, text: string): boolean {
  const length = Math.min(text.length, OPTION_DATA_MAX);
  if (writer.cursor + 2 + length > writer.limit) return false;
  writer.bytes[writer.cursor++] = code;
  writer.bytes[writer.cursor++] = length;
  for (let index = 0; index < length; index++) {
    writer.bytes[writer.cursor++] = text.charCodeAt(index);
  }
  return true;
}

/** Writes data of at most 255 octets if it fits. */
export function writeData(writer: OptionWriter, code: number, data: Uint8Array): boolean {
  if (writer.cursor + 2 + data.length > writer.limit) return false;
  writer.bytes[writer.cursor++] = code;
  writer.bytes[writer.cursor++] = data.length;
  writer.bytes.set(data, writer.cursor);
  writer.cursor += data.length;
  return true;
}

/** Writes four octets of data, which the caller has room for. */
export function writeNumber(writer: OptionWriter, code: number, value: number): void {
  const { bytes, cursor } = writer;
  bytes[cursor] = code;
  bytes[cursor + 1] = 4;
  bytes[cursor + 2] = value >>> 24;
  bytes[cursor + 3] = value >>> 16;
  bytes[cursor + 4] = value >>> 8;
  bytes[cursor + 5] = value;
  writer.cursor += NUMBER_OPTION_BYTES;
}
