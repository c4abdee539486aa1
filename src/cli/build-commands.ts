/** `gitwharf apps` and `gitwharf builds`: which apps there are, and what becomes of what is pushed to them. */
import { Command, InvalidArgumentError } from "commander";
import type { AppRow, BuildRow } from "../deploy/launch/build-control.js";
import { callControl } from "../deploy/launch/control-client.js";
import { controlSocketOf } from "../deploy/launch/places.js";
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
  written,
} from "./app-call.js";
import { fail } from "./failure.js";
import { printDone, printList, timeText } from "./print-list.js";

const BUILD_SHOWN = 8;

export function appsCommand(): Command {
  return new Command("apps")
    .description("List the apps that are deployed by pushing them, add one, remove one.")
    .addCommand(
      appCommand("list").description("List apps: repository, branch, release, commit.").action(listApps),
      { isDefault: true },
    )
    .addCommand(
      changingCommand("create")
        .description("Make an app: pushes to its branch are built and run.")
        .argument("<app>", "lower-case letters, digits and dashes: a part of its host name")
        .option("--repository <name>", "what is deployed  [default: the one of the app's name]")
        .option("--branch <name>", "what is built of it  [default: the server's, main]")
        .action(createApp),
    )
    .addCommand(
      changingCommand("remove")
        .description(
          "End an app's processes and remove it with its releases and builds. The repository stays.",
        )
        .argument("<app>")
        .action(removeApp),
    );
}

export function buildsCommand(): Command {
  return new Command("builds")
    .description("List the builds of an app, end one, build again.")
    .addCommand(
      appCommand("list").description("List the last builds of an app.").argument("<app>").action(listBuilds),
      { isDefault: true },
    )
    .addCommand(
      changingCommand("cancel")
        .description("End a build that is at work, or that waits for its turn.")
        .argument("<app>")
        .argument("[build]", "the beginning of its id  [default: the one at work]")
        .action(cancelBuild),
    )
    .addCommand(
      changingCommand("retry")
        .description("Build a commit once more, without a push, and release it.")
        .argument("<app>")
        .argument(
          "[commit]",
          "as `gitwharf builds` shows it, or whole  [default: what the branch is at]",
          parseCommit,
        )
        .action(retryBuild),
    );
}

async function listApps(flags: AppFlags): Promise<void> {
  const rows = (await call(flags, { command: "apps" })) as readonly AppRow[];
  const { json = false } = flags;
  printList(
    rows.map(({ release, commit, createdAt, ...row }) => ({
      ...row,
      release: releaseText(release),
      commit: json ? commit : commit?.slice(0, COMMIT_SHOWN),
      created: timeText(createdAt),
    })),
    { json, columns: ["name", "repository", "branch", "release", "commit"] },
  );
}

async function createApp(
  app: string,
  flags: AppFlags & { readonly repository?: string; readonly branch?: string },
): Promise<void> {
  const { repository, branch } = flags;
  const made = await changed(flags, "app-add", { app, repository, branch }, async () =>
    call(flags, { command: "create-app", app, repository, branch, by: me() }),
  );
  const row = made as Pick<AppRow, "name" | "repository" | "branch">;
  printDone(flags, row, `pushes to ${row.branch} of ${row.repository} are deployed as ${row.name}`);
}

async function removeApp(app: string, flags: AppFlags): Promise<void> {
  await changed(flags, "app-remove", { app }, () => call(flags, { command: "remove-app", app }));
  printDone(flags, { removed: app }, `removed ${app}; its repository stays`);
}

async function listBuilds(app: string, flags: AppFlags): Promise<void> {
  const rows = (await call(flags, { command: "builds", app })) as readonly BuildRow[];
  if (flags.json === true) {
    process.stdout.write(`${JSON.stringify(rows, undefined, 2)}\n`);
    return;
  }
  printList(
    rows.map(({ id, commit, status, reason, createdAt, startedAt, endedAt, createdBy }) => ({
      build: id.slice(0, BUILD_SHOWN),
      commit: commit.slice(0, COMMIT_SHOWN),
      status: reason === "" ? status : `${status}: ${reason}`,
      created: timeText(createdAt),
      took:
        startedAt === undefined || endedAt === undefined
          ? undefined
          : `${((endedAt - startedAt) / 1000).toFixed(1)}s`,
      by: createdBy || undefined,
    })),
    { json: false, columns: ["build", "commit", "created", "took", "by", "status"] },
  );
}

async function cancelBuild(app: string, build: string | undefined, flags: AppFlags): Promise<void> {
  const id = (await changed(flags, "build-cancel", { app, build }, () =>
    call(flags, { command: "cancel-build", app, build }),
  )) as string;
  printDone(flags, { cancelled: id }, `the build ${id.slice(0, BUILD_SHOWN)} is ended`);
}

async function retryBuild(app: string, commit: string | undefined, flags: AppFlags): Promise<void> {
  const left = leaving();
  try {
    const end = (await changed(flags, "build-retry", { app, commit }, () =>
      callControl(
        controlSocketOf(flags.directory),
        { command: "retry-build", app, commit, by: me() },
        { signal: left, onOutput: (chunk) => (flags.json === true ? undefined : written(chunk)) },
      ),
    )) as Pick<BuildRow, "status" | "reason">;
    if (flags.json === true) printDone(flags, end, "");
    if (end.status !== "succeeded") fail(end.reason === "" ? `the build ${end.status}` : end.reason);
  } catch (error) {
    if (!left.aborted) throw error;
    process.exitCode = INTERRUPTED;
  }
}

function parseCommit(text: string): string {
  if (!/^[0-9a-f]{7,64}$/.test(text))
    throw new InvalidArgumentError("write seven digits of its id or more: `gitwharf builds` shows them");
  return text;
}
