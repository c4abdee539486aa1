/** `gitwharf ps|scale|config|releases|rollback|run|logs`: deployed apps, by way of the server that runs them. */
import { existsSync } from "node:fs";
import { Command, InvalidArgumentError } from "commander";
import { GitwharfError, isGitwharfError } from "../base/errors.js";
import type { ProcessRow, ReleaseRow } from "../deploy/launch/app-control.js";
import type { BuildRow } from "../deploy/launch/build-control.js";
import { isAppName } from "../deploy/state/app-rules.js";
import { callControl } from "../deploy/launch/control-client.js";
import type { Formation } from "../deploy/launch/launch-release.js";
import { appsDirectoryOf, controlSocketOf, logDirectoryOf } from "../deploy/launch/places.js";
import type { ProcessEnd } from "../deploy/launch/process-runner.js";
import { readLog } from "../deploy/launch/read-log.js";
import {
  appCommand,
  type AppFlags,
  call,
  changed,
  changingCommand,
  COMMIT_SHOWN,
  INTERRUPTED,
  leaving,
  me,
  releaseText,
  withDirectory,
  written,
} from "./app-call.js";
import { appsCommand, buildsCommand } from "./build-commands.js";
import { fail } from "./failure.js";
import { printDone, printList, timeText } from "./print-list.js";

export function appCommands(): readonly Command[] {
  return [
    appsCommand(),
    buildsCommand(),
    appCommand("ps").description("List the processes of apps.").argument("[app]").action(listProcesses),
    changingCommand("scale")
      .description("Say how many processes of which type an app has.")
      .argument("<app>")
      .argument("<type=count...>", "web=2 worker=1")
      .action(scale),
    changingCommand("config")
      .description("Show an app's configuration, or change it, which makes a release.")
      .argument("<app>")
      .argument("[name=value...]")
      .option("--unset <name>", "remove a variable; may be repeated", collect, [])
      .action(configure),
    appCommand("releases").description("List the releases of an app.").argument("<app>").action(listReleases),
    changingCommand("rollback")
      .description("Make a release of what an earlier one had.")
      .argument("<app>")
      .argument("[release]", "v12  [default: the one before]", parseRelease)
      .action(rollBack),
    changingCommand("run")
      .description(
        "Run a command beside an app's processes, with its files and configuration, without input.",
      )
      .argument("<app>")
      .argument("<command...>", "put -- before it when it has options")
      .action(run),
    withDirectory(new Command("logs"))
      .description("Show the log of an app.")
      .argument("<app>")
      .option("-f, --follow", "wait for more; a build that is at work is shown first")
      .option("-n, --lines <number>", "of those that are there", parseLines, 100)
      .option("-p, --process <name>", "only of web.1, or of all web")
      .option("--build", "what the build at work, else the last one, prints, until it is over")
      .action(showLogs),
  ];
}

async function listProcesses(app: string | undefined, flags: AppFlags): Promise<void> {
  const rows = (await call(flags, { command: "ps", app })) as readonly ProcessRow[];
  if (rows.length === 0 && app !== undefined && flags.json !== true)
    process.stderr.write(
      `'${app}' has no processes: it is a static site, runs elsewhere, or was not deployed\n`,
    );
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
  const formation = (await changed(flags, "app-scale", { app, formation: counts.join(" ") }, () =>
    call(flags, { command: "scale", app, formation: changes }),
  )) as Formation;
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
  const names = Object.keys(changes).join(" ");
  const number = await changed(flags, "app-config", { app, names }, () =>
    call(flags, { command: "set-config", app, changes, by: me() }),
  );
  if (typeof number === "number") printDone(flags, { release: `v${number}` }, `v${number} runs`);
  else printDone(flags, { release: null }, "kept for the first release");
}

async function listReleases(app: string, flags: AppFlags): Promise<void> {
  const rows = (await call(flags, { command: "releases", app })) as readonly ReleaseRow[];
  printList(
    rows.map(({ number, commit, status, createdAt, createdBy, isCurrent, description }) => ({
      release: `v${number}`,
      commit: flags.json === true ? commit : commit.slice(0, COMMIT_SHOWN),
      status: isCurrent ? "current" : status,
      created: timeText(createdAt),
      by: createdBy || undefined,
      description,
    })),
    {
      json: flags.json === true,
      columns: ["release", "commit", "status", "created", "by", "description"],
    },
  );
}

async function rollBack(app: string, number: number | undefined, flags: AppFlags): Promise<void> {
  const made = await changed(flags, "app-rollback", { app, release: releaseText(number) }, () =>
    call(flags, { command: "rollback", app, number, by: me() }),
  );
  printDone(flags, { release: `v${String(made)}` }, `v${String(made)} runs`);
}

async function run(app: string, words: readonly string[], flags: AppFlags): Promise<void> {
  const left = leaving();
  const [line = "", ...others] = words;
  const what = {
    command: "run",
    app,
    // One word is a line for the shell; several are what a shell has taken apart already.
    line: others.length === 0 ? line : words.map(quoted).join(" "),
  } as const;
  try {
    const end = (await changed(flags, "app-run", { app, program: line.split(/\s/, 1)[0] }, () =>
      callControl(controlSocketOf(flags.directory), what, {
        signal: left,
        onOutput: (chunk) => written(chunk),
      }),
    )) as ProcessEnd;
    if (end.ended !== undefined) fail(end.ended);
    process.exitCode = end.status ?? 1;
  } catch (error) {
    if (!left.aborted) throw error;
    process.exitCode = INTERRUPTED;
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
  const left = leaving();
  if (flags.build === true) return showBuild(app, flags.directory, left);
  if (flags.follow === true && flags.process === undefined) {
    const shown = await showOpenBuild(app, flags.directory, left);
    if (shown === "elsewhere") return;
    if (shown === "nothing")
      return fail(
        `nothing of '${app}' is being built, and what it runs has its log elsewhere; --build shows its last build`,
      );
  }
  const directory = logDirectoryOf(appsDirectoryOf(flags.directory), app);
  if (flags.follow !== true && !existsSync(directory))
    return fail(
      `'${app}' has no log: it was never deployed, it runs elsewhere (--build shows its last build), or --directory names another place`,
    );
  const lines = readLog(directory, {
    lines: flags.lines,
    follow: flags.follow === true,
    process: flags.process,
    signal: left,
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

/**
 * A build that is at work, or waits; nobody has to be there who could tell.
 * @returns whether a log follows: "elsewhere": not here; "nothing": nor was a build shown
 */
async function showOpenBuild(
  app: string,
  directory: string,
  signal: AbortSignal,
): Promise<"here" | "elsewhere" | "nothing"> {
  const socket = controlSocketOf(directory);
  try {
    const rows = (await callControl(socket, { command: "builds", app }, { signal })) as readonly BuildRow[];
    const [last] = rows;
    if (last === undefined) return "here";
    if (!rows.some(({ status }) => status === "queued" || status === "running"))
      return last.isElsewhere ? "nothing" : "here";
    await callControl(
      socket,
      { command: "follow-build", app },
      { signal, onOutput: (chunk) => written(chunk) },
    );
    return last.isElsewhere ? "elsewhere" : "here";
  } catch (error) {
    // The log is in files.
    if (!signal.aborted && !isGitwharfError(error, "deploy/no-answer", "protocol/bad-request")) throw error;
    return "here";
  }
}

function quoted(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
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
