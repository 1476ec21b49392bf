/** What of a request's options was not used, and why: a closed set, kept as bits so that counting allocates nothing. */

/** Every reason for which an option, or a part of the options, is ignored while the request is answered. */
export const IGNORED_OPTION_REASONS = [
  /** An area ended without End; what was in it counts. */
  "opt.noend",
  /** An option ran past its area; those before it count. */
  "opt.trunc",
  /** Equal copies of one option; they count once. */
  "opt.dup",
  /** Host name: empty, or NULs only. */
  "opt.12",
  /** Requested address of another length than four, where it does not matter. */
  "opt.50",
  /** Lease time of another length than four, or 0. */
  "opt.51",
  /** Overload of another length than one, of a value but 1 to 3, repeated, or inside an overloaded field. */
  "opt.52",
  /** Server identifier of another length than four, where it does not matter. */
  "opt.54",
  /** Parameter request list: empty. */
  "opt.55",
  /** Maximum message size of another length than two. */
  "opt.57",
  /** Vendor class: empty, or NULs only. */
  "opt.60",
  /** Client identifier: empty; it is not echoed. */
  "opt.61",
  /** User class: empty. */
  "opt.77",
  /** Rapid commit with data. */
  "opt.80",
  /** Domain name: too short, contradictory flags, or a name that is none. */
  "opt.81",
  /** Relay information: empty. */
  "opt.82",
  /** Authentication: not supported, and not echoed. */
  "opt.90",
  /** Client architecture: empty or of odd length. */
  "opt.93",
  /** Client interface of another length than three. */
  "opt.94",
  /** Machine identifier of another form than type 0 and 16 octets. */
  "opt.97",
  /** IPv6-only preferred with data. */
  "opt.108",
  /** Auto-configure of another length than one. */
  "opt.116",
  /** Subnet selection of another length than four. */
  "opt.118",
  /** Vendor-identifying class whose blocks do not fill it. */
  "opt.124",
  /** Vendor-identifying information whose blocks do not fill it. */
  "opt.125",
  /** Sub-options of relay information that run past it: they are not read, but echoed. */
  "rai.malformed",
  /** Relay information from a client behind no relay: neither read nor echoed (RFC 3046 section 2.1). */
  "rai.untrusted",
] as const;

export type IgnoredOptionReason = (typeof IGNORED_OPTION_REASONS)[number];

/** How often each reason was seen, at most once per message. */
export type IgnoredOptionCounts = Record<IgnoredOptionReason, number>;

/** The bit of a reason in {@link DhcpRequest.ignored}. */
export const IGNORED: Readonly<IgnoredOptionCounts> = countsOf((index) => 1 << index);

/** Makes counts that are all zero. */
export function createIgnoredOptionCounts(): IgnoredOptionCounts {
  return countsOf(() => 0);
}

function countsOf(valueAt: (index: number) => number): IgnoredOptionCounts {
  const entries = IGNORED_OPTION_REASONS.map((reason, index) => [reason, valueAt(index)]);
  return Object.fromEntries(entries) as IgnoredOptionCounts;
}

/** Counts each reason whose bit is set. */
export function countIgnoredOptions(counts: IgnoredOptionCounts, ignored: number): void {
  for (let rest = ignored; rest !== 0; rest &= rest - 1) {
    // The lowest bit that is set.
    const reason = IGNORED_OPTION_REASONS[31 - Math.clz32(rest & -rest)]!;
    counts[reason]++;
  }
}

/** The reasons whose bits are set, for people. Allocates. */
export function ignoredOptionReasons(ignored: number): IgnoredOptionReason[] {
  return IGNORED_OPTION_REASONS.filter((reason) => (ignored & IGNORED[reason]) !== 0);
}
