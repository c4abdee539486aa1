/**
 * `gitwharf ssh-command USER`: what a stock sshd runs in place of the client's command (`command="…"` in
 * authorized_keys). sshd has checked the key; SSH_ORIGINAL_COMMAND says what was asked for, SSH_CLIENT from where.
 */
import { appendFile } from "node:fs/promises";
import { resolve } from "node:path";
import { Command } from "commander";
import { checkUserName } from "./ssh-user.js";
import { parseGrant } from "../access/grant.js";
import { GitwharfError } from "../base/errors.js";
import type { Identity } from "../engine/push.js";
import { auditLogOf, type AuditFlags, withAuditOption } from "./audited-change.js";
import type { GitServerOptions } from "../server/git-server-options.js";
import {
  type DatabaseFlags,
  defaultDatabase,
  withAccessStore,
  withDatabaseOptions,
} from "./access-database.js";
import { readConfiguration } from "./serve-command.js";
import { createStderrSink, createStdioSignal, createStdoutSink, flushStdout } from "./stdio.js";

interface SshCommandFlags extends DatabaseFlags, AuditFlags {
  readonly directory: string;
  readonly config?: string;
  readonly key?: string;
  readonly autoCreate: boolean;
  readonly logFile?: string;
}

export function sshCommand(): Command {
  return withAuditOption(withDatabaseOptions(new Command("ssh-command")))
    .description("Serve one command of a user whom sshd has signed in (a forced command; see docs/ssh.md).")
    .argument("<user>", "who signed in")
    .option("--config <file>", "the configuration of the server")
    .option("--key <fingerprint>", "the key of the database that signed in, with what it is narrowed to")
    .option("--no-auto-create", "serve only repositories that exist  [default: made on first push]")
    .option("--log-file <file>", "append one line of JSON for every command")
    .action(run);
}

async function run(user: string, flags: SshCommandFlags): Promise<void> {
  checkUserName(user);
  const {
    http: _http,
    ssh: _ssh,
    tls: _tls,
    ...fromFile
  } = flags.config === undefined ? {} : await readConfiguration(flags.config);
  const repositories = fromFile.repositories ?? flags.directory;
  const auditLog = flags.auditLog === undefined ? fromFile.audit : undefined;
  const directory = typeof repositories === "string" ? repositories : flags.directory;
  const audit = auditLog ?? (await auditLogOf({ ...flags, directory }));
  const options: GitServerOptions = {
    // Standard error is the client's.
    log: logTo(flags.logFile),
    autoCreate: flags.autoCreate ? "push" : "never",
    ...fromFile,
    repositories: typeof repositories === "string" ? resolve(repositories) : repositories,
    ...databaseOf(flags, fromFile, repositories),
    ...(audit === undefined ? {} : { audit }),
  };
  const identity = await identityOf(user, flags, options.database).catch((error: unknown) =>
    noteRefusal(options, flags.key, error),
  );
  const { createGitServer } = await import("../server/git-server.js");
  const { closeWorkerPool } = await import("../base/worker-pool.js");
  const server = createGitServer(options);
  const signal = createStdioSignal();
  try {
    process.exitCode = await server.runCommand({
      identity,
      address: addressOfClient(),
      command: process.env["SSH_ORIGINAL_COMMAND"],
      gitProtocol: process.env["GIT_PROTOCOL"],
      input: process.stdin,
      output: createStdoutSink(signal),
      errors: createStderrSink(signal),
      signal,
    });
    if (!signal.aborted) await flushStdout();
  } finally {
    process.stdin.destroy();
    await server.close({ graceMs: 0 });
    await closeWorkerPool();
  }
}

/** No server stands behind this yet that would do it. @throws the error */
async function noteRefusal(
  options: GitServerOptions,
  credentialId: string | undefined,
  error: unknown,
): Promise<never> {
  const { createServerAudit } = await import("../server/server-audit.js");
  const trail = createServerAudit(options, options.log ?? (() => undefined));
  trail?.refusedSignIn({ transport: "ssh", address: addressOfClient(), credentialId, error });
  await trail?.close();
  throw error;
}

function addressOfClient(): string | undefined {
  return process.env["SSH_CLIENT"]?.split(" ")[0];
}

/** A key that was removed since sshd read its file opens nothing any more. */
async function identityOf(
  user: string,
  flags: SshCommandFlags,
  database: string | undefined,
): Promise<Identity> {
  if (flags.key === undefined) return { user, method: "ssh-command" };
  const fingerprint = flags.key;
  const where = database === undefined ? flags : { ...flags, database };
  const key = await withAccessStore(where, (store) => store.findKey(fingerprint));
  if (key === undefined || key.user !== user) {
    throw new GitwharfError(
      "access/unauthenticated",
      `the key ${fingerprint} is not one of '${user}' any more`,
    );
  }
  const identity = { user, method: "ssh-key", credentialId: fingerprint };
  return key.grant === undefined
    ? identity
    : { ...identity, grant: parseGrant(key.grant, `key ${fingerprint}`) };
}

function databaseOf(
  flags: SshCommandFlags,
  fromFile: Partial<GitServerOptions>,
  repositories: GitServerOptions["repositories"],
): Pick<GitServerOptions, "database"> {
  const given = flags.database ?? fromFile.database;
  if (given !== undefined) return { database: given };
  return typeof repositories === "string" ? { database: defaultDatabase(repositories) } : {};
}

function logTo(file: string | undefined): NonNullable<GitServerOptions["log"]> {
  if (file === undefined) return () => undefined;
  return ({ level, message, error, fields }) => {
    const shown = error instanceof Error ? (error.stack ?? error.message) : error;
    const line = { time: new Date().toISOString(), level, message, ...fields, error: shown };
    // A log that cannot be written must not keep anybody from working.
    appendFile(file, `${JSON.stringify(line)}\n`).catch(() => undefined);
  };
}
