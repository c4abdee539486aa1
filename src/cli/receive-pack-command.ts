/** `gitwharf receive-pack PATH`: takes one push over standard input and output, like git-receive-pack. */
import { Command } from "commander";
import { auditLogOption, panicFileOption } from "./stdio-options.js";

export function receivePackCommand(): Command {
  return new Command("receive-pack")
    .description("Take a push into one repository over standard input and output (GIT_PROTOCOL is honoured).")
    .argument("<path>", "a bare repository, or a work tree with its .git")
    .option("--stateless-rpc", "one request and one answer, as over HTTP")
    .option("--http-backend-info-refs", "only the advertisement")
    .option("--advertise-refs", "the same under its older name")
    .addOption(panicFileOption())
    .addOption(auditLogOption())
    .option("--hooks-of <config>", "run the handlers and hooks of this configuration, and nothing else of it")
    .option("--repository-hooks", "run the hooks that stand inside the repository")
    .option("--no-collision-detection", "do not look for SHA-1 collision attacks in the objects (faster)")
    .action(async (path: string, flags: Flags) => {
      const { serveRepositoryAt } = await import("./serve-repository-at.js");
      await serveRepositoryAt(path, {
        service: "receive-pack",
        statelessRpc: flags.statelessRpc === true,
        advertiseOnly: flags.httpBackendInfoRefs === true || flags.advertiseRefs === true,
        panicFile: flags.panicFile,
        auditLog: flags.auditLog,
        hooksOf: flags.hooksOf,
        repositoryHooks: flags.repositoryHooks === true,
        collisionDetection: flags.collisionDetection,
      });
    });
}

interface Flags {
  readonly statelessRpc?: boolean;
  readonly httpBackendInfoRefs?: boolean;
  readonly advertiseRefs?: boolean;
  readonly panicFile?: string;
  readonly auditLog?: string;
  readonly hooksOf?: string;
  readonly repositoryHooks?: boolean;
  readonly collisionDetection: boolean;
}
