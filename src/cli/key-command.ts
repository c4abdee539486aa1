/** `gitwharf key add|list|remove`: SSH keys of users. */
import { readFile } from "node:fs/promises";
import { Command } from "commander";
import { fingerprintOf, parsePublicKeyLine, type SshPublicKey } from "../access/ssh-public-key.js";
import { GitwharfError } from "../base/errors.js";
import { auditedChange, type AuditFlags, withAuditOption } from "./audited-change.js";
import { type DatabaseFlags, withAccessStore, withDatabaseOptions } from "./access-database.js";
import { fail, readStandardInput } from "./failure.js";
import { type GrantFlags, grantOf, withGrantOptions } from "./grant-options.js";
import { printDone, printList, timeText } from "./print-list.js";

export function keyCommand(): Command {
  const command = new Command("key").description("SSH keys of users.");
  command.addCommand(
    withAuditOption(withGrantOptions(withDatabaseOptions(new Command("add"))))
      .description("Add a public key to a user.")
      .argument("<user>")
      .argument("[file]", "a .pub file  [default: standard input]")
      .action(addKey),
  );
  command.addCommand(
    withDatabaseOptions(new Command("list")).description("List keys.").argument("[user]").action(listKeys),
  );
  command.addCommand(
    withAuditOption(withDatabaseOptions(new Command("remove")))
      .description("Remove a key.")
      .argument("<fingerprint>", "SHA256:…")
      .action(async (fingerprint: string, flags: DatabaseFlags & AuditFlags) => {
        const removed = await auditedChange(flags, {
          entry: { event: "key-remove", details: { fingerprint } },
          make: () => withAccessStore(flags, (store) => store.removeKey(fingerprint)),
          refusalOf: (found) => (found ? undefined : "no such key"),
        });
        if (removed) printDone(flags, { removed: fingerprint }, `removed key ${fingerprint}`);
        else fail(`there is no key ${fingerprint}`);
      }),
  );
  return command;
}

async function addKey(
  user: string,
  file: string | undefined,
  flags: DatabaseFlags & GrantFlags & AuditFlags,
): Promise<void> {
  const { key, comment } = await readKey(file);
  const fingerprint = fingerprintOf(key.blob);
  const grant = grantOf(flags);
  const grantText = grant === undefined ? undefined : JSON.stringify(grant);
  const outcome = await auditedChange(flags, {
    entry: { event: "key-add", details: { name: user, fingerprint, for: grantText } },
    make: () =>
      withAccessStore(flags, (store) =>
        store.addKey({
          fingerprint,
          user,
          type: key.type,
          blob: key.blob.toString("base64"),
          comment,
          grant: grantText,
        }),
      ),
    refusalOf: (done) => (done === "no-such-user" || done === "taken" ? done : undefined),
  });
  if (outcome === "no-such-user") fail(`there is no user '${user}'`);
  else if (outcome === "taken") fail(`the key ${fingerprint} is somebody's already`);
  else printDone(flags, { user, fingerprint }, `added key ${fingerprint} to ${user}`);
}

async function readKey(file: string | undefined): Promise<{ key: SshPublicKey; comment: string }> {
  let text: string;
  try {
    text = file === undefined || file === "-" ? await readStandardInput() : await readFile(file, "utf8");
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new GitwharfError("server/bad-configuration", `the key cannot be read: ${why}`, { cause });
  }
  if (text.includes("PRIVATE KEY"))
    throw new GitwharfError(
      "server/bad-configuration",
      "this is a private key; give the .pub file beside it",
    );
  const lines = text.split("\n").filter((line) => line.trim() !== "" && !line.trim().startsWith("#"));
  const [line = ""] = lines;
  const key = lines.length === 1 ? parsePublicKeyLine(line) : undefined;
  if (key === undefined)
    throw new GitwharfError("server/bad-configuration", "give one public key, the one line of a .pub file");
  const comment = line.split(key.blob.toString("base64"))[1]?.trim() ?? "";
  return { key, comment: comment.slice(0, 200) };
}

async function listKeys(user: string | undefined, flags: DatabaseFlags): Promise<void> {
  const keys = await withAccessStore(flags, (store) => store.listKeys(user));
  const rows = keys.map((key) => ({
    user: key.user,
    fingerprint: key.fingerprint,
    type: key.type,
    comment: key.comment,
    for: key.grant === undefined ? undefined : (JSON.parse(key.grant) as object),
    created: timeText(key.createdAt),
    lastUsed: timeText(key.lastUsedAt),
  }));
  const columns = ["user", "fingerprint", "type", "comment", "for", "lastUsed"];
  printList(rows, { json: flags.json === true, columns });
}
