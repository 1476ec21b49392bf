/** `goalstate ca`: the certificate of the fabric's authority, for those who check what it attests. */
import type { Command } from "commander";
import { z } from "zod";
import type { CertifiedKey } from "../wireserver/index.ts";
import type { ControlRoutes } from "./control/control-server.ts";
import { ask, DATA, type Look, type LookSurroundings } from "./look.ts";

const AnswerSchema = z.object({ certificate: z.string() });

/** @param open - see `openAuthority`; its key stays here */
export function authorityRoutes(open: () => Promise<CertifiedKey>): ControlRoutes {
  return (app) => {
    app.get("/v1/authority", async () => ({ certificate: (await open()).certificate }));
  };
}

/** Adds the command. */
export function addAuthorityCommand(program: Command, options: LookSurroundings): void {
  program
    .command("ca")
    .description("print the certificate (PEM) that leads from attested documents to this fabric")
    .option(...DATA)
    .action(async (look: Look) => {
      const { certificate } = await ask("/v1/authority", AnswerSchema, look, options);
      options.print(certificate.trimEnd());
    });
}
