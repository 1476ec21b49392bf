/** As whom QEMU runs: a guest that breaks out of its emulator should find an account that owns nothing. */
import { readFile, stat } from "node:fs/promises";
import { errorText, FabricError } from "../../../model/errors.ts";
import { runTool } from "../../../net/run-tool.ts";

/** Taken if it exists. */
const USER_NAME = "goalstate-vm";
/** Else this number, which needs no entry: Debian gives out none from 65,000 on, and leaves 65,534 to `nobody`. */
const UNLISTED_ID = 65_432;
const GROUP_READ_WRITE = 0o060;

/** An account that QEMU changes to. */
export interface QemuAccount {
  readonly uid: number;
  readonly gid: number;
  /** For people. */
  readonly name: string;
}

/** As whom QEMU runs, and how that comes about. */
export type QemuUser =
  | { readonly kind: "account"; readonly setpriv: string; readonly account: QemuAccount }
  | { readonly kind: "ours"; readonly reason: string };

/**
 * Finds the account of QEMU and tries once whether we may change to it.
 *
 * @param wanted - the name of a user; absent: `goalstate-vm` if there is one, else a number that is nobody's
 * @throws FabricError ERR_QEMU_USER if `wanted` is no user here
 */
export async function chooseQemuUser(
  setpriv: string | undefined,
  wanted: string | undefined,
): Promise<QemuUser> {
  const account = await findAccount(wanted);
  if (process.getuid?.() !== 0) return { kind: "ours", reason: "goalstate does not run as root" };
  if (setpriv === undefined) return { kind: "ours", reason: "setpriv is not installed" };
  try {
    await runTool(setpriv, [...setprivArguments(account, []), "--", "true"]);
    return { kind: "account", setpriv, account };
  } catch (error) {
    return { kind: "ours", reason: errorText(error) };
  }
}

/** For the boot trace. */
export function describeUser(user: QemuUser): string {
  if (user.kind === "ours") return `uid ${process.getuid?.()}, as goalstate (${user.reason})`;
  const { name, uid, gid } = user.account;
  return `${name} (uid ${uid}, gid ${gid}), no capabilities`;
}

/** Changes to the account for good: no capability is left, and none can be had again. */
export function setprivArguments(account: QemuAccount, groups: readonly number[]): string[] {
  return [
    ...["--reuid", String(account.uid), "--regid", String(account.gid)],
    ...(groups.length === 0 ? ["--clear-groups"] : ["--groups", groups.join()]),
    ...["--no-new-privs", "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all"],
  ];
}

async function findAccount(wanted: string | undefined): Promise<QemuAccount> {
  const passwd = await readFile("/etc/passwd", "utf8").catch(() => "");
  const found = parsePasswd(passwd, wanted ?? USER_NAME);
  if (found !== undefined) return found;
  if (wanted !== undefined) {
    const message = `Cannot run QEMU as ${wanted}: /etc/passwd has no such user; 'useradd --system ${wanted}' makes one`;
    throw new FabricError("ERR_QEMU_USER", message);
  }
  return { uid: UNLISTED_ID, gid: UNLISTED_ID, name: "no user" };
}

/** The account of a name in the text of /etc/passwd. */
export function parsePasswd(text: string, name: string): QemuAccount | undefined {
  const fields = text
    .split("\n")
    .map((line) => line.split(":"))
    .find(([user]) => user === name);
  const [uid, gid] = [Number(fields?.[2]), Number(fields?.[3])];
  return Number.isInteger(uid) && Number.isInteger(gid) ? { uid, gid, name } : undefined;
}

/** The group through which /dev/kvm may be used; undefined if there is none. */
export async function findKvmGroup(): Promise<number | undefined> {
  const found = await stat("/dev/kvm").catch(() => undefined);
  if (found === undefined || (found.mode & GROUP_READ_WRITE) !== GROUP_READ_WRITE) return undefined;
  return found.gid;
}
