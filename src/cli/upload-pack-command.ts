/** `gitwharf upload-pack PATH`: serves one fetch over standard input and output, like git-upload-pack. */
import { Command } from "commander";
import { auditLogOption, panicFileOption } from "./stdio-options.js";

export function uploadPackCommand(): Command {
  return new Command("upload-pack")
    .description(
      "Serve a fetch from one repository over standard input and output (GIT_PROTOCOL is honoured).",
    )
    .argument("<path>", "a bare repository, or a work tree with its .git")
    .option("--stateless-rpc", "one request and one answer, as over HTTP")
    .option("--http-backend-info-refs", "only the advertisement")
    .option("--advertise-refs", "the same under its older name")
    .addOption(panicFileOption())
    .addOption(auditLogOption())
    .action(async (path: string, flags: Flags) => {
      const { serveRepositoryAt } = await import("./serve-repository-at.js");
      await serveRepositoryAt(path, {
        service: "upload-pack",
        statelessRpc: flags.statelessRpc === true,
        advertiseOnly: flags.httpBackendInfoRefs === true || flags.advertiseRefs === true,
        panicFile: flags.panicFile,
        auditLog: flags.auditLog,
      });
    });
}

interface Flags {
  readonly statelessRpc?: boolean;
  readonly httpBackendInfoRefs?: boolean;
  readonly advertiseRefs?: boolean;
  readonly panicFile?: string;
  readonly auditLog?: string;
}
