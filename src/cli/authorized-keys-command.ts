/**
 * `gitwharf authorized-keys`: lines for a stock sshd, as its authorized_keys file or from its AuthorizedKeysCommand.
 * Each lets its key run `gitwharf ssh-command` and nothing else.
 */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { Command } from "commander";
import { fingerprintOf, parsePublicKeyLine } from "../access/ssh-public-key.js";
import { GitwharfError } from "../base/errors.js";
import { type DatabaseFlags, withAccessStore, withDatabaseOptions } from "./access-database.js";
import { checkUserName } from "./ssh-user.js";

interface AuthorizedKeysFlags extends DatabaseFlags {
  readonly config?: string;
  readonly only?: string;
  readonly program?: string;
  readonly logFile?: string;
}

const RESTRICTIONS = "no-port-forwarding,no-X11-forwarding,no-agent-forwarding,no-pty,no-user-rc";

export function authorizedKeysCommand(): Command {
  return withDatabaseOptions(new Command("authorized-keys"))
    .description("Print authorized_keys lines for a stock sshd: of the database's keys, or of those given.")
    .argument("[user]", "print lines for the keys of a file in place of the database's")
    .argument("[file]", "public keys, one a line")
    .option("--only <base64>", "only the key that a client shows (%k of AuthorizedKeysCommand)")
    .option("--config <file>", "passed on to ssh-command")
    .option("--log-file <file>", "passed on to ssh-command")
    .option("--program <command>", "how to run gitwharf  [default: as it is run now]")
    .action(print);
}

async function print(
  user: string | undefined,
  file: string | undefined,
  flags: AuthorizedKeysFlags,
): Promise<void> {
  if ((user === undefined) !== (file === undefined)) {
    throw new GitwharfError("server/bad-configuration", "give a user and a file of public keys, or neither");
  }
  const entries =
    user === undefined || file === undefined ? await storedEntries(flags) : await givenEntries(user, file);
  for (const entry of entries) {
    const line = formatLine(entry, flags);
    process.stdout.write(flags.json === true ? `${JSON.stringify({ ...entry, line })}\n` : `${line}\n`);
  }
}

interface Entry {
  readonly user: string;
  readonly type: string;
  readonly blob: string;
  /** Of a key of the database. */
  readonly fingerprint?: string;
}

async function storedEntries(flags: AuthorizedKeysFlags): Promise<readonly Entry[]> {
  const { only } = flags;
  return withAccessStore(flags, async (store) => {
    if (only === undefined) return store.listKeys();
    const key = await store.findKey(fingerprintOf(Buffer.from(only, "base64")));
    return key === undefined ? [] : [key];
  });
}

async function givenEntries(user: string, file: string): Promise<readonly Entry[]> {
  checkUserName(user);
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (cause) {
    throw new GitwharfError("server/bad-configuration", `the keys in ${file} cannot be read`, { cause });
  }
  return text
    .split("\n")
    .map(parsePublicKeyLine)
    .filter((key) => key !== undefined)
    .map(({ type, blob }) => ({ user, type, blob: blob.toString("base64") }));
}

function formatLine({ user, type, blob, fingerprint }: Entry, flags: AuthorizedKeysFlags): string {
  const words = [
    "ssh-command",
    user,
    ...(fingerprint === undefined ? [] : ["--key", fingerprint]),
    "--directory",
    resolve(flags.directory),
    ...(flags.database === undefined ? [] : ["--database", flags.database]),
    ...(flags.config === undefined ? [] : ["--config", resolve(flags.config)]),
    ...(flags.logFile === undefined ? [] : ["--log-file", resolve(flags.logFile)]),
  ].map(quoteForShell);
  const program =
    flags.program ?? [process.execPath, process.argv[1] ?? "gitwharf"].map(quoteForShell).join(" ");
  return `${RESTRICTIONS},command="${quoteForOption([program, ...words].join(" "))}" ${type} ${blob}`;
}

function quoteForShell(word: string): string {
  return /^[A-Za-z0-9_./:@+=,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** @throws server/bad-configuration for what a line cannot hold */
function quoteForOption(text: string): string {
  if (/[\0\r\n]/.test(text)) {
    throw new GitwharfError(
      "server/bad-configuration",
      "a path with a line break cannot stand in authorized_keys",
    );
  }
  return text.replaceAll('"', '\\"');
}
