/** `gitwharf upload-archive PATH`: answers `git archive --remote` over standard input and output. */
import { Command } from "commander";
import { auditLogOption, panicFileOption } from "./stdio-options.js";

export function uploadArchiveCommand(): Command {
  return new Command("upload-archive")
    .description("Answer `git archive --remote` from one repository over standard input and output.")
    .argument("<path>", "a bare repository, or a work tree with its .git")
    .addOption(panicFileOption())
    .addOption(auditLogOption())
    .action(async (path: string, flags: { readonly panicFile?: string; readonly auditLog?: string }) => {
      const { serveRepositoryAt } = await import("./serve-repository-at.js");
      await serveRepositoryAt(path, {
        service: "upload-archive",
        statelessRpc: false,
        advertiseOnly: false,
        panicFile: flags.panicFile,
        auditLog: flags.auditLog,
      });
    });
}
