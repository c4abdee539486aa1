/** `gitwharf user add|list|remove|password|hash`. From the first user on the server is closed to the anonymous. */
import { Command } from "commander";
import { hashPassword, PASSWORD_BYTES_MAX } from "../access/password-hash.js";
import { isUserName, USER_NAME_RULE } from "../access/user-name.js";
import { GitwharfError } from "../base/errors.js";
import { auditedChange, type AuditFlags, withAuditOption } from "./audited-change.js";
import { type DatabaseFlags, withAccessStore, withDatabaseOptions } from "./access-database.js";
import { fail, readStandardInput } from "./failure.js";
import { printDone, printList, timeText } from "./print-list.js";

export function userCommand(): Command {
  const command = new Command("user").description(
    "Users of the database. From the first one on nobody gets in without signing in.",
  );
  command.addCommand(
    withAuditOption(withDatabaseOptions(new Command("add")))
      .description("Add a user. Without a password, the user signs in with keys and tokens.")
      .argument("<name>")
      .option("--password-stdin", "read a password from standard input")
      .action(addUser),
  );
  command.addCommand(withDatabaseOptions(new Command("list")).description("List users.").action(listUsers));
  command.addCommand(
    withAuditOption(withDatabaseOptions(new Command("remove")))
      .description("Remove a user, with all keys and tokens. The server stays closed.")
      .argument("<name>")
      .action(async (name: string, flags: DatabaseFlags & AuditFlags) => {
        const removed = await auditedChange(flags, {
          entry: { event: "user-remove", details: { name } },
          make: () => withAccessStore(flags, (store) => store.removeUser(name)),
          refusalOf: noSuchUser,
        });
        if (removed) printDone(flags, { removed: name }, `removed user ${name}`);
        else fail(`there is no user '${name}'`);
      }),
  );
  command.addCommand(
    withAuditOption(withDatabaseOptions(new Command("password")))
      .description("Set a user's password from standard input, or take it away.")
      .argument("<name>")
      .option("--none", "take it away")
      .action(async (name: string, flags: DatabaseFlags & AuditFlags & { readonly none?: boolean }) => {
        const hash = flags.none === true ? undefined : await hashPassword(await readPassword());
        const done = await auditedChange(flags, {
          entry: { event: "user-password", details: { name, password: hash !== undefined } },
          make: () => withAccessStore(flags, (store) => store.setPassword(name, hash)),
          refusalOf: noSuchUser,
        });
        if (done) printDone(flags, { user: name }, `changed the password of ${name}`);
        else fail(`there is no user '${name}'`);
      }),
  );
  command.addCommand(
    new Command("hash")
      .description("Print the hash of the password on standard input, for `users` in a configuration file.")
      .action(async () => {
        process.stdout.write(`${await hashPassword(await readPassword())}\n`);
      }),
  );
  return command;
}

function noSuchUser(found: boolean): string | undefined {
  return found ? undefined : "no such user";
}

async function addUser(
  name: string,
  flags: DatabaseFlags & AuditFlags & { readonly passwordStdin?: boolean },
): Promise<void> {
  if (!isUserName(name)) throw new GitwharfError("server/bad-configuration", USER_NAME_RULE);
  const password = flags.passwordStdin === true ? { password: await hashPassword(await readPassword()) } : {};
  const outcome = await auditedChange(flags, {
    entry: { event: "user-add", details: { name, password: "password" in password } },
    make: () => withAccessStore(flags, (store) => store.addUser({ name, ...password }), { makes: true }),
    refusalOf: (done) => (done === "taken" ? done : undefined),
  });
  if (outcome === "taken") fail(`there is a user '${name}' already (letters of either case are the same)`);
  else printDone(flags, { user: name }, `added user ${name}`);
}

async function listUsers(flags: DatabaseFlags): Promise<void> {
  const users = await withAccessStore(flags, (store) => store.listUsers());
  const rows = users.map((user) => ({
    name: user.name,
    password: user.password === undefined ? "no password" : "password",
    created: timeText(user.createdAt),
  }));
  printList(rows, { json: flags.json === true, columns: ["name", "password", "created"] });
}

async function readPassword(): Promise<string> {
  const password = await readStandardInput(PASSWORD_BYTES_MAX + 2);
  if (password === "" || Buffer.byteLength(password) > PASSWORD_BYTES_MAX) {
    throw new GitwharfError(
      "server/bad-configuration",
      `the password on standard input must have 1 to ${PASSWORD_BYTES_MAX} bytes`,
    );
  }
  // oxlint-disable-next-line no-control-regex
  if (/[\0-\x1f\x7f]/.test(password))
    throw new GitwharfError("server/bad-configuration", "a password is one line without control characters");
  return password;
}
