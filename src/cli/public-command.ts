/** `gitwharf public add|list|remove`: repositories that anyone may read, signed in or not. */
import { Command } from "commander";
import { parseRepositoryName } from "../storage/contracts/repository-name.js";
import { auditedChange, type AuditFlags, withAuditOption } from "./audited-change.js";
import { type DatabaseFlags, withAccessStore, withDatabaseOptions } from "./access-database.js";
import { fail } from "./failure.js";
import { printDone } from "./print-list.js";

export function publicCommand(): Command {
  const command = new Command("public").description("Repositories that anyone may read, signed in or not.");
  command.addCommand(
    withAuditOption(withDatabaseOptions(new Command("add")))
      .description("Let anyone read a repository. It need not exist yet.")
      .argument("<repository>")
      .action(async (text: string, flags: DatabaseFlags & AuditFlags) => {
        const repository = parseRepositoryName(text);
        const added = await auditedChange(flags, {
          entry: { event: "public-add", repository },
          make: () => withAccessStore(flags, (store) => store.setPublic(repository, true), { makes: true }),
          refusalOf: (done) => (done ? undefined : "it is public already"),
        });
        if (added) printDone(flags, { repository, public: true }, `anyone may read ${repository}`);
        else fail(`anyone may read '${repository}' already`);
      }),
  );
  command.addCommand(
    withDatabaseOptions(new Command("list"))
      .description("List them.")
      .action(async (flags: DatabaseFlags) => {
        const repositories = await withAccessStore(flags, (store) => store.listPublic());
        const text = repositories.map((name) => `${name}\n`).join("");
        process.stdout.write(flags.json === true ? `${JSON.stringify(repositories)}\n` : text);
      }),
  );
  command.addCommand(
    withAuditOption(withDatabaseOptions(new Command("remove")))
      .description("Ask readers of a repository to sign in again.")
      .argument("<repository>")
      .action(async (text: string, flags: DatabaseFlags & AuditFlags) => {
        const repository = parseRepositoryName(text);
        const removed = await auditedChange(flags, {
          entry: { event: "public-remove", repository },
          make: () => withAccessStore(flags, (store) => store.setPublic(repository, false)),
          refusalOf: (done) => (done ? undefined : "it was not public"),
        });
        if (removed) printDone(flags, { repository, public: false }, `${repository} is private`);
        else fail(`'${repository}' was not public`);
      }),
  );
  return command;
}
