#!/usr/bin/env node
/**
 * The command line. Exit codes: 0 done, 1 it failed (or fsck found errors), 2 the command was wrong.
 */
import { Command, CommanderError } from "commander";
import { isGitwharfError } from "../base/errors.js";
import { VERSION } from "../server/version.js";
import { loadCommands } from "./commands.js";

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

for (const command of await loadCommands(process.argv[2])) program.addCommand(prepared(command));

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
