/** Options as people write them in a configuration, and their octets. */
import { z } from "zod";
import { createExtraOption, type ExtraOption, OPTION } from "../../../dhcp/index.ts";
import { writeIpv4 } from "../../../model/ipv4-address.ts";
import { Ipv4Schema } from "../../../model/schema.ts";

const LIST_MAX = 32;
const TEXT_MAX = 255;
const UINT32_MAX = 0xffff_ffff;

/**
 * Codes that may be set here, as runs: services and names that a guest may look up (RFC 2132, RFC 3397, RFC 4833), what
 * vendors look for (43, 124, 125), boot menus of pxelinux (208 to 211) and site-specific codes (224 to 254).
 */
const ALLOWED: readonly (readonly [first: number, last: number])[] = [
  [2, 2],
  [4, 11],
  [14, 15],
  [17, 17],
  [23, 24],
  [40, 49],
  [64, 65],
  [68, 76],
  [78, 79],
  [83, 83],
  [85, 87],
  [100, 101],
  [112, 114],
  [117, 117],
  [119, 120],
  [122, 125],
  [128, 143],
  [150, 150],
  [160, 162],
  [208, 211],
  [224, 244],
  [246, 248],
  [250, 254],
];

/** Who sets a code that may not be set here, for the error's text. */
const OWNERS: ReadonlyMap<number, string> = new Map<number, string>([
  [OPTION.subnetMask, "network.subnet"],
  [OPTION.routers, "network.gateway"],
  [OPTION.hostname, "hostname of the NIC"],
  [OPTION.interfaceMtu, "network.mtu"],
  [OPTION.classlessRoutes, "network.gateway"],
  [OPTION.microsoftRoutes, "network.gateway"],
  [OPTION.vendorClass, "boot"],
  [OPTION.tftpServerName, "boot.server"],
  [OPTION.bootFile, "boot"],
]);

/** Labels of letters, digits, hyphens and underscores (RFC 1035 section 2.3.1; RFC 2782). */
const DomainSchema = z
  .string()
  .max(253)
  .regex(/^(?!.*[^.]{64})[\w-]+(?:\.[\w-]+)*$/, "is not a domain name, for instance example.com");

/** One option: its code, and its value in exactly one form. */
export const OptionSchema = z
  .strictObject({
    code: z.int().min(0).max(255),
    /** False: only clients that ask for the code in option 55 get it. */
    always: z.boolean().default(true),
    addresses: z.array(Ipv4Schema).min(1).max(LIST_MAX).optional(),
    text: z.string().min(1).max(TEXT_MAX).optional(),
    uint8: z.int().min(0).max(255).optional(),
    uint16: z.int().min(0).max(65_535).optional(),
    uint32: z.int().min(0).max(UINT32_MAX).optional(),
    bool: z.boolean().optional(),
    hex: z
      .string()
      .regex(/^(?:[0-9a-f]{2}[ :]?)+$/i, "must be pairs of hexadecimal digits")
      .optional(),
    domains: z.array(DomainSchema).min(1).max(LIST_MAX).optional(),
  })
  .superRefine(({ code, always: _always, ...forms }, context) => {
    const problem = problemOfCode(code);
    if (problem !== undefined) {
      context.addIssue({ code: "custom", path: ["code"], message: problem });
    }
    const given = Object.entries(forms).filter(([, value]) => value !== undefined);
    if (given.length === 1) return;
    const known = Object.keys(ENCODERS).join(", ");
    const message = `option ${code} needs its value in one form, one of ${known}`;
    context.addIssue({ code: "custom", message });
  });

export type OptionDescription = z.infer<typeof OptionSchema>;
type FormName = Exclude<keyof OptionDescription, "code" | "always">;

function problemOfCode(code: number): string | undefined {
  if (ALLOWED.some(([first, last]) => code >= first && code <= last)) return undefined;
  const owner = OWNERS.get(code);
  if (owner !== undefined) return `option ${code} is set by ${owner}; set it there`;
  return `option ${code} cannot be set here: the server decides it, or guests could be harmed by it`;
}

const ENCODERS: {
  [Form in FormName]: (value: NonNullable<OptionDescription[Form]>) => Uint8Array;
} = {
  addresses: (addresses) => {
    const data = new Uint8Array(4 * addresses.length);
    for (const [index, address] of addresses.entries()) writeIpv4(data, 4 * index, address);
    return data;
  },
  text: (text) => new TextEncoder().encode(text),
  uint8: (value) => Uint8Array.of(value),
  uint16: (value) => Uint8Array.of(value >>> 8, value),
  uint32: (value) => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value),
  bool: (value) => Uint8Array.of(value ? 1 : 0),
  hex: (text) => Uint8Array.fromHex(text.replaceAll(/[ :]/g, "")),
  domains: (domains) => Uint8Array.from(domains.flatMap(encodeDomain)),
};

/** RFC 1035 section 3.1, without compression: not every client unpacks it. */
function encodeDomain(domain: string): number[] {
  const labels = domain.split(".").flatMap((label) => [label.length, ...Buffer.from(label)]);
  return [...labels, 0];
}

/**
 * Encodes a checked description.
 *
 * @throws RangeError if no reply could carry it
 */
export function encodeOption({ code, always, ...forms }: OptionDescription): ExtraOption {
  for (const [form, value] of Object.entries(forms)) {
    if (value === undefined) continue;
    const encode = ENCODERS[form as FormName] as (given: typeof value) => Uint8Array;
    return createExtraOption(code, encode(value), always);
  }
  throw new RangeError(`option ${code} has no value`);
}
