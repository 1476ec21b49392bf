/** Validation of what people write: values that only their parser can make, and errors that name the place. */
import { z } from "zod";
import { FabricError } from "./errors.ts";
import { type Ipv4Address, type Ipv4Subnet, parseIpv4, parseSubnet } from "./ipv4-address.ts";
import { type MacAddress, parseMac } from "./mac-address.ts";

/** A string that `parse` turns into a value; its SyntaxError becomes the issue's text. */
function parsedString<T>(parse: (text: string) => T) {
  return z.string().transform((text, context): T => {
    try {
      return parse(text);
    } catch (error) {
      context.issues.push({
        code: "custom",
        message: error instanceof Error ? error.message : String(error),
        input: text,
      });
      return z.NEVER;
    }
  });
}

export const MacSchema = parsedString<MacAddress>(parseMac);
export const Ipv4Schema = parsedString<Ipv4Address>(parseIpv4);
export const SubnetSchema = parsedString<Ipv4Subnet>(parseSubnet);
export const PortSchema = z.int().min(1).max(65_535);

/**
 * Validates `data` once and returns it frozen at the top.
 *
 * @param source - the file or place, for the error's text
 * @throws FabricError with `code` and one line that lists every issue as `place: what is wrong`
 */
export function validate<T>(
  schema: z.ZodType<T>,
  data: unknown,
  source: string,
  code: `ERR_USAGE_${string}`,
): T {
  const result = schema.safeParse(data);
  if (result.success) return result.data;
  const issues = result.error.issues.map(({ path, message }) => `${formatPath(path)}: ${message}`);
  throw new FabricError(code, `${source}: ${issues.join("; ")}`);
}

/** `nics[3].mac` */
export function formatPath(path: readonly PropertyKey[]): string {
  const text = path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`))
    .join("");
  return text.replace(/^\./, "") || "(top)";
}
