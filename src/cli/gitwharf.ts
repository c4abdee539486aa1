#!/usr/bin/env node
/**
 * The command line. Exit codes: 0 done, 1 it failed (or fsck found errors), 2 the command was wrong.
 */
import { Command, CommanderError } from "commander";
import { isGitwharfError } from "../base/errors.js";
import { appCommands } from "./app-commands.js";
import { auditCommand } from "./audit-command.js";
import { authorizedKeysCommand } from "./authorized-keys-command.js";
import { VERSION } from "../server/version.js";
import { deletedCommand } from "./deleted-command.js";
import { exportCommand } from "./export-command.js";
import { forkCommand } from "./fork-command.js";
import { historyCommand } from "./history-command.js";
import { importCommand } from "./import-command.js";
import { renameCommand } from "./rename-command.js";
import { restoreCommand } from "./restore-command.js";
import { undeleteCommand } from "./undelete-command.js";
import { verifyCommand } from "./verify-command.js";
import { explainCommand } from "./explain-command.js";
import { fsckCommand } from "./fsck-command.js";
import { initCommand } from "./init-command.js";
import { maintenanceCommand } from "./maintenance-command.js";
import { deliveryCommand } from "./delivery-command.js";
import { hookCommand } from "./hook-command.js";
import { keyCommand } from "./key-command.js";
import { publicCommand } from "./public-command.js";
import { panicCommand } from "./panic-command.js";
import { receivePackCommand } from "./receive-pack-command.js";
import { storageCommand } from "./storage-command.js";
import { sshCommand } from "./ssh-command.js";
import { serveCommand } from "./serve-command.js";
import { tokenCommand } from "./token-command.js";
import { userCommand } from "./user-command.js";
import { uploadArchiveCommand } from "./upload-archive-command.js";
import { uploadPackCommand } from "./upload-pack-command.js";
import { webhookCommand } from "./webhook-command.js";

/** `gitwharf builds shop | head -1`: who reads has seen enough. */
function endWithReader(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit(0);
  });
}

/** Help is written before any command begins. */
const output = {
  writeOut(text: string): void {
    endWithReader();
    process.stdout.write(text);
  },
};

const program = new Command("gitwharf")
  .description("A programmable Git server.")
  .version(VERSION, "-v, --version")
  .showHelpAfterError("(gitwharf --help and gitwharf COMMAND --help explain)")
  .exitOverride()
  .configureOutput(output)
  .configureHelp({ showGlobalOptions: false });

for (const command of [
  serveCommand(),
  initCommand(),
  fsckCommand(),
  userCommand(),
  keyCommand(),
  tokenCommand(),
  publicCommand(),
  explainCommand(),
  panicCommand(),
  deliveryCommand(),
  webhookCommand(),
  auditCommand(),
  maintenanceCommand(),
  storageCommand(),
  historyCommand(),
  verifyCommand(),
  forkCommand(),
  renameCommand(),
  restoreCommand(),
  deletedCommand(),
  undeleteCommand(),
  exportCommand(),
  importCommand(),
  hookCommand(),
  sshCommand(),
  authorizedKeysCommand(),
  uploadPackCommand(),
  receivePackCommand(),
  uploadArchiveCommand(),
  ...appCommands(),
])
  program.addCommand(prepared(command));

/** Wrong options and arguments are told by exception, in subcommands as well. */
function prepared(command: Command, path: string = command.name()): Command {
  for (const child of command.commands) prepared(child, `${path} ${child.name()}`);
  return command
    .exitOverride()
    .configureOutput(output)
    .showHelpAfterError(`(gitwharf ${path} --help explains)`);
}

/** Their standard output is a conversation, or a log that a server goes on without. */
const TALKING = ["serve", "ssh-command", "upload-pack", "receive-pack", "upload-archive"];
program.hook("preAction", (_, command) => {
  if (TALKING.includes(command.name())) return;
  endWithReader();
});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else {
    // A defect shows its stack; what a person can mend shows one sentence.
    const mendable = isGitwharfError(error) && error.kind !== "invariant";
    console.error("gitwharf:", mendable ? error.message : error);
    process.exitCode = isGitwharfError(
      error,
      "server/bad-configuration",
      "storage/bad-name",
      "access/malformed-key",
    )
      ? 2
      : 1;
  }
}
