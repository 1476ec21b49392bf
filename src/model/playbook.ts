/**
 * Playbooks: answers that are made wrong on purpose, for those who build what runs in guests. As written in a file; plain
 * JSON, and what the schema returns is valid input of the schema again.
 */
import { z } from "zod";

export const RULES_MAX = 32;
export const STEPS_MAX = 64;
/** Longer than any client waits. */
export const DELAY_MS_MAX = 120_000;
export const FAULT_BODY_CHARACTERS_MAX = 65_536;
const STORY_CHARACTERS_MAX = 400;
const PARTS_MAX = 16;
const COUNT_MAX = 1_000_000;
const SECONDS_MAX = 86_400;

/** The services that face guests. */
export const WIRE_SERVICES = ["wireServer", "hostPlugin", "metadata"] as const;
export type WireService = (typeof WIRE_SERVICES)[number];

/** What a guest can ask for, by the names that playbooks use; by service, and `...Other` for the rest of it. */
export const FAULT_ENDPOINTS = {
  wireServer: [
    "versions",
    "goalstate",
    "hostingEnvironmentConfig",
    "sharedConfig",
    "extensionsConfig",
    "fullConfig",
    "certificates",
    "remoteAccessInfo",
    "health",
    "provisioningHealth",
    "roleProperties",
    "telemetrydata",
    "healthService",
    "statusBlob",
    "artifactsProfile",
    "artifact",
    "wireServerOther",
  ],
  hostPlugin: [
    "hostPluginVersions",
    "hostPluginHealth",
    "vmSettings",
    "extensionArtifact",
    "hostPluginStatus",
    "hostPluginLog",
    "hostPluginOther",
  ],
  metadata: ["instanceMetadata", "scheduledEvents", "attestedDocument", "metadataOther"],
} as const satisfies Record<WireService, readonly string[]>;

/** One of {@link FAULT_ENDPOINTS}. */
export type FaultEndpoint = (typeof FAULT_ENDPOINTS)[WireService][number];

/** What a rule may name: an endpoint, or all of a service. */
const TARGETS = [...WIRE_SERVICES, ...Object.values(FAULT_ENDPOINTS).flat()] as const;
const TargetSchema = z.enum(TARGETS);

const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/;

/** How long a step lasts. Without either: once, or for ever if it is the last. */
const LASTING = {
  /** So many requests. */
  repeat: z.int().min(1).max(COUNT_MAX).optional(),
  /** From its first request on. */
  forSeconds: z.number().positive().max(SECONDS_MAX).optional(),
};

const StepSchema = z
  .strictObject({
    ...LASTING,
    /** The right answer. */
    pass: z.literal(true).optional(),
    delayMs: z.int().min(1).max(DELAY_MS_MAX).optional(),
    /** This status instead of an answer: what was asked for is not done. */
    status: z.int().min(200).max(599).optional(),
    /** This text instead of the answer's body; with 200 unless `status` says otherwise. */
    body: z.string().max(FAULT_BODY_CHARACTERS_MAX).optional(),
    /** Set in the answer; null takes one out. */
    headers: z
      .record(
        z.string().regex(HEADER_NAME, "is no header's name"),
        z.union([
          z
            .string()
            .max(4096)
            .regex(/^[\t\x20-\x7e]*$/, "is no header's value"),
          z.null(),
        ]),
      )
      .optional(),
    /**
     * `reset`: RST; `close`: FIN; `hang`: no answer, ever; each once the request was read, which is not done. `refuse`:
     * RST as soon as it connects; for a whole service only.
     */
    connection: z.enum(["reset", "close", "hang", "refuse"]).optional(),
    /** The answer is right, and done; but the connection is closed after so many bytes of its body. */
    cutAfterBytes: z.int().min(0).max(FAULT_BODY_CHARACTERS_MAX).optional(),
    /** Elements of an XML answer, or paths in a JSON answer (`network.interface`), that it lacks. */
    without: z
      .array(
        z
          .string()
          .regex(/^[\w-]+(?:\.[\w-]+)*$/, "is no element's name, and no path as compute.name"),
      )
      .min(1)
      .max(PARTS_MAX)
      .optional(),
    /** The incarnation in the answer, and in its URLs, is so much older. */
    staleBy: z.int().min(1).max(COUNT_MAX).optional(),
    /** Base64 text in one line. */
    oneLine: z.literal(true).optional(),
  })
  .check((context) => {
    const text = stepFault(context.value);
    if (text !== undefined) {
      context.issues.push({ code: "custom", message: text, input: context.value });
    }
  });

/** One answer of a sequence. */
export type FaultStep = z.output<typeof StepSchema>;

/** Why a step means nothing, or two things. */
function stepFault(step: Readonly<Record<string, unknown>>): string | undefined {
  const has = (name: string) => step[name] !== undefined;
  const acts = Object.keys(step).filter((key) => has(key) && !Object.hasOwn(LASTING, key));
  if (acts.length === 0) return 'says nothing; write "pass: true" for the right answer';
  if (has("repeat") && has("forSeconds")) return 'has "repeat" and "forSeconds"; give one of them';
  const alone = acts.find((key) => key === "pass" || key === "connection");
  const beside = acts.find((key) => key !== alone && (alone === "pass" || key !== "delayMs"));
  if (alone !== undefined && beside !== undefined) {
    return `has "${alone}" and "${beside}"; give one of them`;
  }
  const instead = acts.find((key) => key === "status" || key === "body");
  const edit = acts.find((key) => ["without", "staleBy", "oneLine"].includes(key));
  if (instead !== undefined && edit !== undefined) {
    return `has "${instead}", which replaces the answer, and "${edit}", which changes it; give one of them`;
  }
  return step["connection"] === "refuse" && has("delayMs")
    ? 'has "delayMs": a refused connection cannot be delayed'
    : undefined;
}

const RuleSchema = z
  .strictObject({
    /** An endpoint, several, or a whole service. */
    endpoint: z.preprocess(
      (value) => (typeof value === "string" ? [value] : value),
      z.array(TargetSchema).min(1).max(TARGETS.length),
    ),
    /** Only requests whose URL has this text in it. */
    urlHas: z.string().min(1).max(400).optional(),
    /** One after another. After the last one, if that ends, answers are right again. */
    answers: z.array(StepSchema).min(1).max(STEPS_MAX),
    /** The sequence begins again after its last answer. */
    loop: z.boolean().optional(),
  })
  .check((context) => {
    const { endpoint, answers, urlHas } = context.value;
    const targets: readonly string[] = endpoint;
    const services: readonly string[] = WIRE_SERVICES;
    if (!answers.some(({ connection }) => connection === "refuse")) return;
    if (urlHas === undefined && targets.every((target) => services.includes(target))) return;
    const message = `refuses connections: what for is not known then, so name a whole service: ${services.join(", ")}`;
    context.issues.push({ code: "custom", message, input: context.value });
  });

/** What becomes of the requests for some endpoints. */
export type FaultRule = z.output<typeof RuleSchema>;

const DhcpFaultSchema = z
  .strictObject({
    ...LASTING,
    /** Which replies; both if absent. */
    replies: z
      .array(z.enum(["offer", "ack"]))
      .min(1)
      .optional(),
    /** No answer at all. */
    silent: z.literal(true).optional(),
    /** The wire server's address is left out, or one octet too short, or four too long. */
    option245: z.enum(["absent", "short", "long"]).optional(),
    /** Pad octets before option 245: WALinuxAgent reads a length after them. */
    padBefore245: z.int().min(1).max(16).optional(),
    /** An OFFER goes to the client's own address although it asked for a broadcast. */
    unicast: z.literal(true).optional(),
    /** The UDP checksum is wrong, so that the guest's kernel drops it; raw sockets still see it. */
    badChecksum: z.literal(true).optional(),
  })
  .refine(
    (fault) => Object.keys(fault).some((key) => key !== "replies" && !Object.hasOwn(LASTING, key)),
    { error: 'says nothing; write for example "option245: absent"' },
  )
  .refine(({ repeat, forSeconds }) => repeat === undefined || forSeconds === undefined, {
    error: 'has "repeat" and "forSeconds"; give one of them',
  });

/** What is wrong with a container's DHCP replies. */
export type DhcpFault = z.output<typeof DhcpFaultSchema>;

const DiscFaultSchema = z
  .strictObject({
    /** The guest is given no disc. */
    absent: z.literal(true).optional(),
    /** What it lacks: `customData`, or elements of `ovf-env.xml` as `UserName` or `PlatformSettingsSection`. */
    without: z
      .array(z.string().regex(/^\w+$/, "is no element's name"))
      .min(1)
      .max(PARTS_MAX)
      .optional(),
  })
  .refine(({ absent, without }) => (absent === undefined) !== (without === undefined), {
    error: 'needs either "absent" or "without"',
  });

/** What is wrong with a container's provisioning disc, from its next start on. */
export type DiscFault = z.output<typeof DiscFaultSchema>;

export const PlaybookSchema = z
  .strictObject({
    name: z
      .string()
      .max(63)
      .regex(
        /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/,
        "may hold lower-case letters, digits and inner hyphens only, for example goalstate-410",
      ),
    /** What happened, or what this is for; one line. */
    story: z.string().max(STORY_CHARACTERS_MAX).default(""),
    /** What clients do then; one line. */
    clients: z.string().max(STORY_CHARACTERS_MAX).default(""),
    /** The first that is for a request, and is not over, decides. */
    rules: z.array(RuleSchema).max(RULES_MAX).default([]),
    dhcp: DhcpFaultSchema.optional(),
    disc: DiscFaultSchema.optional(),
  })
  .refine(({ rules, dhcp, disc }) => rules.length > 0 || dhcp !== undefined || disc !== undefined, {
    error: "does nothing; give it rules, dhcp or disc",
  });

/** Answers that are made wrong on purpose. */
export type Playbook = z.output<typeof PlaybookSchema>;
