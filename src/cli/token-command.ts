/** `gitwharf token add|list|remove`: access tokens, each shown once. */
import { Command, InvalidArgumentError } from "commander";
import { createAccessToken } from "../access/access-token.js";
import { auditedChange, type AuditFlags, withAuditOption } from "./audited-change.js";
import { type DatabaseFlags, withAccessStore, withDatabaseOptions } from "./access-database.js";
import { fail } from "./failure.js";
import { type GrantFlags, grantOf, withGrantOptions } from "./grant-options.js";
import { printDone, printList, timeText } from "./print-list.js";

interface TokenFlags extends DatabaseFlags, GrantFlags, AuditFlags {
  readonly directory: string;
  readonly label: string;
  /** Milliseconds from now. */
  readonly expires?: number;
}

export function tokenCommand(): Command {
  const command = new Command("token").description("Access tokens of users: passwords for programs.");
  command.addCommand(
    withAuditOption(withGrantOptions(withDatabaseOptions(new Command("add"))))
      .description("Make a token. It is shown once: only its hash is stored.")
      .argument("<user>")
      .option("--label <text>", "what it is for", "")
      .option("--expires <time>", "in how long it ends: 15m, 12h, 30d, 8w  [default: never]", parseDuration)
      .action(addToken),
  );
  command.addCommand(
    withDatabaseOptions(new Command("list"))
      .description("List tokens.")
      .argument("[user]")
      .action(listTokens),
  );
  command.addCommand(
    withAuditOption(withDatabaseOptions(new Command("remove")))
      .description("Remove a token; it ends at once.")
      .argument("<id>", "as `gitwharf token list` shows it")
      .action(async (id: string, flags: DatabaseFlags & AuditFlags) => {
        const removed = await auditedChange(flags, {
          entry: { event: "token-remove", details: { id } },
          make: () => withAccessStore(flags, (store) => store.removeToken(id)),
          refusalOf: (found) => (found ? undefined : "no such token"),
        });
        if (removed) printDone(flags, { removed: id }, `removed token ${id}`);
        else fail(`there is no token ${id}`);
      }),
  );
  return command;
}

async function addToken(user: string, flags: TokenFlags): Promise<void> {
  const { id, token, hash } = createAccessToken();
  const grant = grantOf(flags);
  const expiresAt = flags.expires === undefined ? undefined : Date.now() + flags.expires;
  const label = flags.label.slice(0, 200);
  const grantText = grant === undefined ? undefined : JSON.stringify(grant);
  const outcome = await auditedChange(flags, {
    entry: { event: "token-add", details: { name: user, id, for: grantText, expires: timeText(expiresAt) } },
    make: () =>
      withAccessStore(flags, (store) =>
        store.addToken({ id, user, label, hash, expiresAt, grant: grantText }),
      ),
    refusalOf: (done) => (done === "no-such-user" ? done : undefined),
  });
  if (outcome === "no-such-user") {
    fail(`there is no user '${user}'`);
    return;
  }
  if (flags.json !== true)
    process.stderr.write(`token ${id} of ${user}; it is shown this once, as a password of any user name:\n`);
  printDone(flags, { id, user, token, expires: timeText(expiresAt) }, token);
}

async function listTokens(user: string | undefined, flags: DatabaseFlags): Promise<void> {
  const tokens = await withAccessStore(flags, (store) => store.listTokens(user));
  const rows = tokens.map((token) => ({
    user: token.user,
    id: token.id,
    label: token.label,
    for: token.grant === undefined ? undefined : (JSON.parse(token.grant) as object),
    created: timeText(token.createdAt),
    expires: timeText(token.expiresAt),
    lastUsed: timeText(token.lastUsedAt),
  }));
  const columns = ["user", "id", "label", "for", "expires", "lastUsed"];
  printList(rows, { json: flags.json === true, columns });
}

const UNITS_MS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

function parseDuration(text: string): number {
  const match = /^([1-9][0-9]{0,4})([mhdw])$/.exec(text);
  const unit = UNITS_MS[match?.[2] ?? ""];
  if (match === null || unit === undefined) throw new InvalidArgumentError("write 15m, 12h, 30d or 8w");
  return Number(match[1]) * unit;
}
