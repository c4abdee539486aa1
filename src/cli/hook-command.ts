/** `gitwharf hook install|remove|list`: scripts in the `hooks/` of repositories, for pushes by whatever way. */
import { readFile } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { Argument, Command } from "commander";
import { compilePatterns } from "../access/name-pattern.js";
import { GitwharfError } from "../base/errors.js";
import {
  INSTALLABLE_HOOKS,
  type InstallableHook,
  installHook,
  listHooks,
  removeHook,
} from "../hooks/install-hook.js";
import { fail } from "./failure.js";
import { printList, type Row } from "./print-list.js";

interface HookFlags {
  readonly directory: string;
  readonly json?: boolean;
}

export function hookCommand(): Command {
  const command = new Command("hook").description(
    "Put scripts into the hooks/ of repositories, beside the hooks that stand there.",
  );
  command.addCommand(
    withHookOptions(new Command("install"))
      .description("Install a script in repositories, nested ones too; installed again, it is replaced.")
      .addArgument(hookArgument())
      .argument("<script>", "a file that begins with #!")
      .argument("[repositories...]", "patterns of names  [default: all]")
      .option(
        "--as <label>",
        "what it is called there; scripts run in this order  [default: the file's name]",
      )
      .action(
        async (hook: InstallableHook, file: string, patterns: readonly string[], flags: InstallFlags) => {
          const script = await readScript(file);
          const label = flags.as ?? basename(file);
          await forEachRepository(flags, patterns, async (gitDirectory) => [
            { hook, label, done: await installHook({ gitDirectory, hook, label }, script) },
          ]);
        },
      ),
  );
  command.addCommand(
    withHookOptions(new Command("remove"))
      .description("Remove what was installed. A hook that stood there before is in its place again.")
      .addArgument(hookArgument())
      .argument("<label>", "what it is called there")
      .argument("[repositories...]", "patterns of names  [default: all]")
      .action(async (hook: InstallableHook, label: string, patterns: readonly string[], flags: HookFlags) => {
        await forEachRepository(flags, patterns, async (gitDirectory) => [
          { hook, label, done: await removeHook({ gitDirectory, hook, label }) },
        ]);
      }),
  );
  command.addCommand(
    withHookOptions(new Command("list"))
      .description("List what is installed, and the hooks that stand there besides (own).")
      .argument("[repositories...]", "patterns of names  [default: all]")
      .action(async (patterns: readonly string[], flags: HookFlags) => {
        await forEachRepository(flags, patterns, async (gitDirectory) =>
          (await listHooks(gitDirectory)).flatMap(({ hook, labels, hasOwn }) => [
            ...labels.map((label) => ({ hook, label, done: "installed" })),
            ...(hasOwn ? [{ hook, label: undefined, done: "own" }] : []),
          ]),
        );
      }),
  );
  return command;
}

interface InstallFlags extends HookFlags {
  readonly as?: string;
}

function withHookOptions(command: Command): Command {
  return command
    .option("-d, --directory <directory>", "where the repositories are", "./repositories")
    .option("--json", "print JSON");
}

function hookArgument(): Argument {
  return new Argument("<hook>", "which hook").choices(INSTALLABLE_HOOKS);
}

/** Its bytes: whatever its text is written in, it arrives as it is. */
async function readScript(file: string): Promise<Buffer> {
  const wrong = (why: string): GitwharfError =>
    new GitwharfError("server/bad-configuration", `${file} ${why}`);
  const script = await readFile(file).catch((error: unknown) => {
    throw wrong(`cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  });
  if (script.toString("latin1", 0, 2) !== "#!") throw wrong('is no script: it does not begin with "#!"');
  return script;
}

/** One that fails does not keep the others from theirs. */
async function forEachRepository(
  flags: HookFlags,
  patterns: readonly string[],
  work: (gitDirectory: string) => Promise<readonly Row[]>,
): Promise<void> {
  const matches = patterns.length === 0 ? () => true : compilePatterns(patterns);
  const { createDiskRepositoryStore } = await import("../storage/disk/disk-repository-store.js");
  const store = createDiskRepositoryStore({ directory: resolve(flags.directory) });
  const rows: Row[] = [];
  let matched = 0;
  try {
    for await (const name of store.list()) {
      if (!matches(name)) continue;
      matched++;
      try {
        const repository = await store.open(name);
        const gitDirectory = repository?.gitDirectory;
        await repository?.close();
        if (gitDirectory === undefined) continue;
        for (const row of await work(gitDirectory)) rows.push({ repository: name, ...row });
      } catch (error) {
        if (!(error instanceof GitwharfError) || error.code === "server/bad-configuration") throw error;
        fail(`${name}: ${error.message}`);
      }
    }
  } finally {
    await store.close();
  }
  printList(rows, { json: flags.json === true, columns: ["repository", "hook", "label", "done"] });
  if (matched === 0) fail(`no repository in ${resolve(flags.directory)} has such a name`);
}
