/**
 * What a guest is configured with beyond its image: its first user, VM extensions, accounts for a while. As written in
 * a tenant file; plain JSON, and what each schema returns is valid input of the schema again.
 */
import { z } from "zod";
import { PATH_CHARACTERS_MAX } from "./bounds.ts";

/** As Azure bounds it, before base64. */
export const CUSTOM_DATA_BYTES_MAX = 65_536;
export const SSH_KEYS_MAX = 32;
export const EXTENSIONS_MAX = 32;
export const REMOTE_USERS_MAX = 32;
const SSH_KEY_CHARACTERS_MAX = 16_384;
const PASSWORD_CHARACTERS_MAX = 123;
const SETTINGS_CHARACTERS_MAX = 262_144;

const UserNameSchema = z
  .string()
  .regex(
    /^[a-z_][a-z0-9_-]{0,31}$/,
    "is no Linux user name: begin with a lower-case letter or '_', then lower-case letters, digits, '_', '-'; at most 32",
  );

const PasswordSchema = z
  .string()
  .min(1, "is empty; leave it out for no password")
  .max(PASSWORD_CHARACTERS_MAX)
  .refine((text) => !/\p{Cc}/u.test(text), { error: "has a control character" });

const PathSchema = z.string().min(1, "is empty; name a file").max(PATH_CHARACTERS_MAX);

/** Text as it is, or the file that holds it, relative to the tenant file. */
const DataSchema = z.union([
  z.string().max(CUSTOM_DATA_BYTES_MAX),
  z.strictObject({ file: PathSchema }),
]);

export const ProvisioningSchema = z
  .strictObject({
    adminUsername: UserNameSchema,
    adminPassword: PasswordSchema.optional(),
    /** In OpenSSH's form; WALinuxAgent, where it provisions, takes only those that begin with `ssh-`. */
    sshKeys: z
      .array(
        z
          .string()
          .trim()
          .max(SSH_KEY_CHARACTERS_MAX)
          .regex(
            /^[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,3}(?: [^\p{Cc}]*)?$/u,
            "is no OpenSSH public key, for example 'ssh-ed25519 AAAA... me'",
          ),
      )
      .max(SSH_KEYS_MAX)
      .default([]),
    /** Given on the disc, and once only. */
    customData: DataSchema.optional(),
    /** Given by the metadata service, at any time. */
    userData: DataSchema.optional(),
    /** False: the agent sleeps for ever once the guest is provisioned. */
    guestAgent: z.boolean().default(true),
  })
  .refine(({ adminPassword, sshKeys }) => adminPassword !== undefined || sshKeys.length > 0, {
    error: "lets nobody in: give it sshKeys or an adminPassword",
  });

const JsonObjectSchema = z
  .record(z.string(), z.json())
  .refine((value) => JSON.stringify(value).length <= SETTINGS_CHARACTERS_MAX, {
    error: `is longer than ${SETTINGS_CHARACTERS_MAX} characters of JSON`,
  });

const HandlerNameSchema = z
  .string()
  .max(128)
  .regex(
    /^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)+$/,
    "is no handler's name; write PUBLISHER.TYPE, for example Contoso.Echo",
  );

export const ExtensionSchema = z.strictObject({
  /** `PUBLISHER.TYPE`. */
  name: HandlerNameSchema,
  version: z
    .string()
    .regex(/^\d{1,9}(?:\.\d{1,9}){1,3}$/, "is no version of an extension; write it as 1.0.0"),
  /** A folder with a HandlerManifest.json, or a zip of one, relative to the tenant file. */
  source: PathSchema,
  state: z.enum(["enabled", "disabled", "uninstall"]).default("enabled"),
  settings: JsonObjectSchema.default({}),
  /** Encrypted to the VM's certificate; no listing shows them. */
  protectedSettings: JsonObjectSchema.optional(),
  /** Names of extensions of this role that must be done before. */
  dependsOn: z.array(HandlerNameSchema).max(EXTENSIONS_MAX).default([]),
});

/** An account that the agent makes in the guest, and removes when it expires or is not named any more. */
export const RemoteUserSchema = z.strictObject({
  name: UserNameSchema,
  password: PasswordSchema,
  /** With a time zone, `2026-11-22T18:00:00Z`. */
  expires: z.iso.datetime({ offset: true, error: "is no time; write it as 2026-11-22T18:00:00Z" }),
});

/** How the platform talks with the guest's agent. */
export const AgentChannelSchema = z.strictObject({
  /** Extensions travel by the host plugin's `/vmSettings`, and their changes leave the incarnation alone. */
  fastTrack: z.boolean().default(false),
  /** Where the agent uploads its status to. */
  statusBlob: z.enum(["block", "page"]).default("block"),
});

export type ProvisioningDescription = z.output<typeof ProvisioningSchema>;
export type ExtensionDescription = z.output<typeof ExtensionSchema>;
export type RemoteUserDescription = z.output<typeof RemoteUserSchema>;
export type AgentChannelDescription = z.output<typeof AgentChannelSchema>;
