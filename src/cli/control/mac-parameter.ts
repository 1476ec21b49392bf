/** A MAC in the path of a control request. */
import { FabricError } from "../../model/errors.ts";
import { type MacAddress, parseMac } from "../../model/mac-address.ts";

/** @throws FabricError ERR_USAGE_CONTROL if it is none */
export function readMacParameter(text: string): MacAddress {
  try {
    return parseMac(text);
  } catch (cause) {
    throw new FabricError("ERR_USAGE_CONTROL", "The path of the control request is wrong", {
      cause,
    });
  }
}
