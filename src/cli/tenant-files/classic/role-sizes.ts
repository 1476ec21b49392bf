/**
 * What the sizes of classic cloud services have.
 *
 * @see Microsoft, "Sizes for Cloud Services (classic)"
 */

/** Processors, and memory in GiB. */
type Size = readonly [cpus: number, memoryGib: number];

const A_SIZES: readonly (readonly [names: readonly string[], size: Size])[] = [
  [
    ["ExtraSmall", "A0"],
    [1, 0.75],
  ],
  [
    ["Small", "A1"],
    [1, 1.75],
  ],
  [
    ["Medium", "A2"],
    [2, 3.5],
  ],
  [
    ["Large", "A3"],
    [4, 7],
  ],
  [
    ["ExtraLarge", "A4"],
    [8, 14],
  ],
  [["A5"], [2, 14]],
  [["A6"], [4, 28]],
  [["A7"], [8, 56]],
  [["A8"], [8, 56]],
  [["A9"], [16, 112]],
  [["A10"], [8, 56]],
  [["A11"], [16, 112]],
];

const STANDARD_SIZES: Readonly<Record<string, Size>> = {
  A1_v2: [1, 2],
  A2_v2: [2, 4],
  A4_v2: [4, 8],
  A8_v2: [8, 16],
  A2m_v2: [2, 16],
  A4m_v2: [4, 32],
  A8m_v2: [8, 64],
  D1: [1, 3.5],
  D2: [2, 7],
  D3: [4, 14],
  D4: [8, 28],
  D11: [2, 14],
  D12: [4, 28],
  D13: [8, 56],
  D14: [16, 112],
  D1_v2: [1, 3.5],
  D2_v2: [2, 7],
  D3_v2: [4, 14],
  D4_v2: [8, 28],
  D5_v2: [16, 56],
  D11_v2: [2, 14],
  D12_v2: [4, 28],
  D13_v2: [8, 56],
  D14_v2: [16, 112],
  D15_v2: [20, 140],
  D2_v3: [2, 8],
  D4_v3: [4, 16],
  D8_v3: [8, 32],
  D16_v3: [16, 64],
  D32_v3: [32, 128],
  D48_v3: [48, 192],
  D64_v3: [64, 256],
};

const SIZES: ReadonlyMap<string, readonly [name: string, size: Size]> = new Map(
  [
    ...A_SIZES.flatMap(([names, size]) => names.map((name) => [name, size] as const)),
    ...A_SIZES.map(([names, size]) => [`Standard_${names.at(-1)}`, size] as const),
    ...Object.entries(STANDARD_SIZES).map(([name, size]) => [`Standard_${name}`, size] as const),
  ].map((entry) => [entry[0].toLowerCase(), entry]),
);

/** The size of a role that names none. */
export const ROLE_SIZE_DEFAULT = "Small";

/** Names of all sizes. */
export const ROLE_SIZES: readonly string[] = [...SIZES.values()].map(([name]) => name);

/** What a size has, or undefined if there is none of this name; case does not count. */
export function findRoleSize(name: string): { cpus: number; memoryMib: number } | undefined {
  const found = SIZES.get(name.toLowerCase());
  if (found === undefined) return undefined;
  const [cpus, memoryGib] = found[1];
  return { cpus, memoryMib: memoryGib * 1024 };
}
