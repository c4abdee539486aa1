/** `gitwharf ps|scale|config|releases|rollback|run|logs`: deployed apps, by way of the server that runs them. */
import { userInfo } from "node:os";
import { Command, InvalidArgumentError } from "commander";
import { GitwharfError } from "../base/errors.js";
import type { ProcessRow, ReleaseRow } from "../deploy/launch/app-control.js";
import { isAppName } from "../deploy/launch/app-name.js";
import { callControl } from "../deploy/launch/control-client.js";
import type { ControlCall } from "../deploy/launch/control-messages.js";
import type { Formation } from "../deploy/launch/launch-release.js";
import { appsDirectoryOf, controlSocketOf, logDirectoryOf } from "../deploy/launch/places.js";
import type { ProcessEnd } from "../deploy/launch/process-runner.js";
import { readLog } from "../deploy/launch/read-log.js";
import { fail } from "./failure.js";
import { printDone, printList, timeText } from "./print-list.js";

interface AppFlags {
  readonly directory: string;
  readonly json?: boolean;
}

export function appCommands(): readonly Command[] {
  return [
    appCommand("ps").description("List the processes of apps.").argument("[app]").action(listProcesses),
    appCommand("scale")
      .description("Say how many processes of which type an app has.")
      .argument("<app>")
      .argument("<type=count...>", "web=2 worker=1")
      .action(scale),
    appCommand("config")
      .description("Show an app's configuration, or change it, which makes a release.")
      .argument("<app>")
      .argument("[name=value...]")
      .option("--unset <name>", "remove a variable; may be repeated", collect, [])
      .action(configure),
    appCommand("releases").description("List the releases of an app.").argument("<app>").action(listReleases),
    appCommand("rollback")
      .description("Make a release of what an earlier one had.")
      .argument("<app>")
      .argument("[release]", "v12  [default: the one before]", parseRelease)
      .action(rollBack),
    appCommand("run")
      .description(
        "Run a command beside an app's processes, with its files and configuration, without input.",
      )
      .argument("<app>")
      .argument("<command...>", "put -- before it when it has options")
      .action(run),
    withDirectory(new Command("logs"))
      .description("Show the log of an app.")
      .argument("<app>")
      .option("-f, --follow", "wait for more")
      .option("-n, --lines <number>", "of those that are there", parseLines, 100)
      .option("-p, --process <name>", "only of web.1, or of all web")
      .option("--build", "what the last build prints, until it is over")
      .action(showLogs),
  ];
}

function withDirectory(command: Command): Command {
  return command.option("-d, --directory <directory>", "where the repositories are", "./repositories");
}

function appCommand(name: string): Command {
  return withDirectory(new Command(name)).option("--json", "print JSON");
}

function call(flags: AppFlags, what: ControlCall): Promise<unknown> {
  return callControl(controlSocketOf(flags.directory), what);
}

async function listProcesses(app: string | undefined, flags: AppFlags): Promise<void> {
  const rows = (await call(flags, { command: "ps", app })) as readonly ProcessRow[];
  printList(
    rows.map((row) => ({ ...row, release: `v${row.release}`, since: timeText(row.since) })),
    {
      json: flags.json === true,
      columns: [...(app === undefined ? ["app"] : []), "name", "state", "since", "release", "command"],
    },
  );
}

async function scale(app: string, counts: readonly string[], flags: AppFlags): Promise<void> {
  const changes: Record<string, number> = {};
  for (const text of counts) {
    const [, type, count] = /^([A-Za-z0-9_-]+)=([0-9]{1,4})$/.exec(text) ?? [];
    if (type === undefined) throw wrong(`'${text}' is not TYPE=COUNT, as web=2`);
    changes[type] = Number(count);
  }
  const formation = (await call(flags, { command: "scale", app, formation: changes })) as Formation;
  const shown = Object.entries(formation).map(([type, count]) => `${type}=${count}`);
  printDone(flags, formation, shown.join(" "));
}

async function configure(
  app: string,
  given: readonly string[],
  flags: AppFlags & { readonly unset: readonly string[] },
): Promise<void> {
  const changes: Record<string, string | null> = Object.fromEntries(flags.unset.map((name) => [name, null]));
  for (const text of given) {
    const at = text.indexOf("=");
    if (at < 1) throw wrong(`'${text}' is not NAME=VALUE`);
    changes[text.slice(0, at)] = text.slice(at + 1);
  }
  if (Object.keys(changes).length === 0) {
    const config = (await call(flags, { command: "config", app })) as Readonly<Record<string, string>>;
    if (flags.json === true) process.stdout.write(`${JSON.stringify(config, undefined, 2)}\n`);
    else
      printList(
        Object.entries(config).map(([name, value]) => ({ name, value })),
        { json: false, columns: ["name", "value"] },
      );
    return;
  }
  const number = await call(flags, { command: "set-config", app, changes, by: me() });
  if (typeof number === "number") printDone(flags, { release: `v${number}` }, `v${number} runs`);
  else printDone(flags, { release: null }, "kept for the first release");
}

async function listReleases(app: string, flags: AppFlags): Promise<void> {
  const rows = (await call(flags, { command: "releases", app })) as readonly ReleaseRow[];
  printList(
    rows.map(({ number, commit, status, createdAt, createdBy, isCurrent }) => ({
      release: `v${number}`,
      commit: flags.json === true ? commit : commit.slice(0, 10),
      status: isCurrent ? "current" : status,
      created: timeText(createdAt),
      by: createdBy,
    })),
    { json: flags.json === true, columns: ["release", "commit", "status", "created", "by"] },
  );
}

async function rollBack(app: string, number: number | undefined, flags: AppFlags): Promise<void> {
  const made = await call(flags, { command: "rollback", app, number, by: me() });
  printDone(flags, { release: `v${String(made)}` }, `v${String(made)} runs`);
}

async function run(app: string, words: readonly string[], flags: AppFlags): Promise<void> {
  const left = new AbortController();
  const leave = (): void => left.abort();
  process.once("SIGINT", leave);
  process.once("SIGTERM", leave);
  const [line = "", ...others] = words;
  const what = {
    command: "run",
    app,
    // One word is a line for the shell; several are what a shell has taken apart already.
    line: others.length === 0 ? line : words.map(quoted).join(" "),
  } as const;
  try {
    const end = (await callControl(controlSocketOf(flags.directory), what, {
      signal: left.signal,
      onOutput: (chunk) => written(chunk),
    })) as ProcessEnd;
    if (end.ended !== undefined) fail(end.ended);
    process.exitCode = end.status ?? 1;
  } catch (error) {
    if (!left.signal.aborted) throw error;
    process.exitCode = 130;
  }
}

async function showLogs(
  app: string,
  flags: {
    readonly directory: string;
    readonly follow?: boolean;
    readonly lines: number;
    readonly process?: string;
    readonly build?: boolean;
  },
): Promise<void> {
  if (!isAppName(app)) throw wrong(`'${app}' is no name of an app`);
  const left = new AbortController();
  process.once("SIGINT", () => left.abort());
  process.once("SIGTERM", () => left.abort());
  // Whoever reads has seen enough: `gitwharf logs app | head`.
  process.stdout.once("error", () => left.abort());
  if (flags.build === true) return showBuild(app, flags.directory, left.signal);
  const lines = readLog(logDirectoryOf(appsDirectoryOf(flags.directory), app), {
    lines: flags.lines,
    follow: flags.follow === true,
    process: flags.process,
    signal: left.signal,
  });
  for await (const line of lines) await written(Buffer.from(`${line}\n`));
}

/** A push that was broken off goes on building: this is how to see the rest. */
async function showBuild(app: string, directory: string, signal: AbortSignal): Promise<void> {
  try {
    const status = await callControl(
      controlSocketOf(directory),
      { command: "follow-build", app },
      { signal, onOutput: (chunk) => written(chunk) },
    );
    if (typeof status !== "string") fail(`nothing of '${app}' was ever built`);
    else if (status !== "succeeded") fail(`the build ${status}`);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** @returns when standard output has taken it */
function written(chunk: Uint8Array): Promise<void> {
  return new Promise((resolve) => process.stdout.write(chunk, () => resolve()));
}

function quoted(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

function me(): string {
  try {
    return userInfo().username;
  } catch {
    return "";
  }
}

function collect(text: string, before: readonly string[]): readonly string[] {
  return [...before, text];
}

function parseRelease(text: string): number {
  const number = /^v?([1-9][0-9]{0,8})$/.exec(text)?.[1];
  if (number === undefined) throw new InvalidArgumentError("write v12");
  return Number(number);
}

function parseLines(text: string): number {
  if (!/^[0-9]{1,6}$/.test(text)) throw new InvalidArgumentError("write a number");
  return Number(text);
}

function wrong(why: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", why);
}
