/** What `goalstate relay` refuses, in one line that says what would do. */
import { Command, CommanderError, Option } from "commander";
import { pino } from "pino";
import { describe, expect, test } from "vitest";
import { addRelayCommand } from "../../src/cli/relay-command.ts";
import { FabricError } from "../../src/model/errors.ts";

/** The error of a command line, and what was printed. */
async function refusal(...args: readonly string[]): Promise<unknown> {
  const program = new Command().exitOverride().configureOutput({ outputError: () => undefined });
  addRelayCommand(program, {
    logLevel: () => new Option("--log-level <level>").default("silent"),
    createLog: () => pino({ level: "silent" }),
    print: (line) => {
      throw new Error(`it printed ${line}`);
    },
    signal: AbortSignal.abort(),
  });
  try {
    await program.parseAsync(["relay", ...args], { from: "user" });
  } catch (error) {
    return error;
  }
  return undefined;
}

const ON_LOOPBACK = ["--interface", "lo", "--upstream", "192.0.2.1"];

describe("goalstate relay refuses", () => {
  test.each([
    ["no interface", ["--upstream", "192.0.2.1"], "required option '--interface <name>'"],
    ["no server", ["--interface", "lo"], "required option '--upstream <address>'"],
    ["a server that is no address", [...ON_LOOPBACK, "--upstream", "x"], "is not an IPv4 address"],
    [
      "nine servers",
      Array.from({ length: 9 }, (_, index) => ["--upstream", `192.0.2.${index}`]).flat(),
      "At most 8",
    ],
    ["no hop at all", [...ON_LOOPBACK, "--hops", "0"], "a number from 1 to 16"],
    ["seventeen hops", [...ON_LOOPBACK, "--hops", "17"], "a number from 1 to 16"],
    ["seconds beyond the field", [...ON_LOOPBACK, "--secs", "65536"], "a number from 0 to 65535"],
    ["half an octet", [...ON_LOOPBACK, "--remote-id", "0xabc"], "pairs of hexadecimal digits"],
    ["an id that no terminal shows", [...ON_LOOPBACK, "--remote-id", "é"], "printable ASCII"],
    ["an id of 65 octets", [...ON_LOOPBACK, "--circuit-id", "x".repeat(65)], "at most 64 octets"],
    [
      "an id that would be too long for some port",
      [...ON_LOOPBACK, "--circuit-id", `${"x".repeat(50)}{port}`],
      "at most 64 octets",
    ],
    [
      "a trusted subnet with host bits",
      [...ON_LOOPBACK, "--trust-relay", "10.0.0.1/8"],
      "host bits",
    ],
    ["what it does not know", [...ON_LOOPBACK, "--client-information", "keep"], "drop, replace"],
  ])("%s", async (_what, args, says) => {
    const error = await refusal(...args);
    expect(error).toBeInstanceOf(CommanderError);
    expect(error).toMatchObject({ message: expect.stringContaining(says) });
  });

  test.each([
    ["an interface that is not there", ["--interface", "nope"], "ERR_USAGE_INTERFACE", "nope"],
    ["an interface without a network", ["--interface", "lo"], "ERR_USAGE_INTERFACE", "--giaddr"],
    [
      "one giaddr for two networks",
      ["--interface", "lo", "--interface", "nope", "--giaddr", "127.0.0.1"],
      "ERR_USAGE_RELAY",
      "one relay for each --interface",
    ],
    [
      "a giaddr that is not its own",
      ["--interface", "lo", "--giaddr", "192.0.2.9"],
      "ERR_USAGE_RELAY",
      "is no address of this host",
    ],
    [
      "itself as the server",
      ["--interface", "lo", "--giaddr", "127.0.0.1", "--upstream", "127.0.0.1"],
      "ERR_USAGE_RELAY",
      "is this host itself",
    ],
  ])("%s", async (_what, args, code, says) => {
    const error = await refusal("--upstream", "192.0.2.1", ...args);
    expect(error).toBeInstanceOf(FabricError);
    expect(error).toMatchObject({ code, message: expect.stringContaining(says) });
  });
});
