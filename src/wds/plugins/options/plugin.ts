/** Adds options to replies, by rules: who the client is, or what it says it is. Encoded once, at the start. */
import { z } from "zod";
import type { ExtraOption } from "../../../dhcp/index.ts";
import type { OptionsVerdict, Plugin } from "../../plugin.ts";
import { createMatcher, type Matcher, MatchSchema } from "./matchers.ts";
import { encodeOption, OptionSchema } from "./option-values.ts";

/** Most rules, and most options of one. */
export const OPTION_RULES_MAX = 256;
export const OPTIONS_OF_RULE_MAX = 64;

const VENDOR_SPECIFIC = 43;

const RuleSchema = z
  .strictObject({
    match: MatchSchema.default({}),
    options: z.array(OptionSchema).min(1).max(OPTIONS_OF_RULE_MAX),
  })
  .superRefine(({ match, options }, context) => {
    const seen = new Map<number, number>();
    for (const [index, { code }] of options.entries()) {
      const path = ["options", index, "code"];
      const other = seen.get(code);
      seen.set(code, index);
      if (other !== undefined) {
        const message = `option ${code} is options[${other}] of this rule already; name it once`;
        context.addIssue({ code: "custom", path, message });
      }
      if (code === VENDOR_SPECIFIC && match.vendorClass === undefined) {
        const message = "option 43 means something else to each vendor: add match.vendorClass";
        context.addIssue({ code: "custom", path, message });
      }
    }
  });

/** Settings of the `options` plugin. */
export const OptionsSchema = z.strictObject({
  /** All that match add their options; of one code, the last one's counts. */
  rules: z.array(RuleSchema).min(1).max(OPTION_RULES_MAX),
});

export type OptionsSettings = z.infer<typeof OptionsSchema>;

interface Rule {
  readonly isFor: Matcher;
  readonly options: readonly ExtraOption[];
}

const ADDED: OptionsVerdict = Object.freeze({ kind: "next", why: "rules added options" });
const NONE: OptionsVerdict = Object.freeze({ kind: "next", why: "no rule matches" });

/**
 * Makes the `options` plugin; see its README.
 *
 * @throws RangeError if an option is too long for any reply
 */
export function createOptionsPlugin({ rules }: OptionsSettings): Plugin {
  const made = rules.map(
    ({ match, options }): Rule => ({
      isFor: createMatcher(match),
      options: options.map(encodeOption),
    }),
  );
  return {
    name: "options",
    setsOptions: [...new Set(made.flatMap(({ options }) => options.map(({ code }) => code)))],
    options: (request, { replyOptions }, assignment) => {
      let hasAdded = false;
      for (const { isFor, options } of made) {
        if (!isFor(request, assignment)) continue;
        hasAdded = true;
        for (const option of options) replyOptions.set(option);
      }
      return hasAdded ? ADDED : NONE;
    },
  };
}

/** Rules that set the same code for the same clients: one of them is most likely a mistake. */
export function optionsWarnings({ rules }: OptionsSettings): string[] {
  const first = new Map<string, number>();
  return rules.flatMap(({ match, options }, index) =>
    options.flatMap(({ code }) => {
      const key = JSON.stringify([code, Object.entries(match).sort()]);
      const other = first.get(key);
      first.set(key, index);
      if (other === undefined) return [];
      return [
        `rules[${other}] and rules[${index}] set option ${code} for the same clients; rules[${index}] counts`,
      ];
    }),
  );
}
