/**
 * `core.logAllRefUpdates`: which reflogs a push writes, line by line as git's own receive-pack writes them, but for who
 * pushed and when.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { type PushBesideGit, type Side, startPushBesideGit } from "./support/push-beside-git.js";

let pair: PushBesideGit;
afterEach(() => pair.close());

const gitDirectoryOf = ({ repository }: Side): string =>
  existsSync(join(repository.directory, ".git")) ? join(repository.directory, ".git") : repository.directory;

/** Each log with its lines. */
function logsOf(side: Side): Record<string, string[]> {
  const root = join(gitDirectoryOf(side), "logs");
  if (!existsSync(root)) return {};
  const logs: Record<string, string[]> = {};
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    logs[path.slice(root.length + 1)] = readFileSync(path, "utf8").trimEnd().split("\n");
  }
  return logs;
}

/** Old, new and message; who and when are our own. */
const SHAPE = /^([0-9a-f]{40} [0-9a-f]{40}) ([^<>]+ <[^<>]*>) \d+ [-+]\d{4}(\t.*)?$/;

function shapes(side: Side): Record<string, string[]> {
  return Object.fromEntries(
    Object.entries(logsOf(side)).map(([name, lines]) => [
      name,
      lines.map((line) => {
        const [, ids = line, , message = ""] = SHAPE.exec(line) ?? [];
        return ids + message;
      }),
    ]),
  );
}

async function pushMuch(): Promise<void> {
  await pair.push("two:main", "two:fresh", "two:refs/notes/x", "two:refs/keep/x", "two:refs/tags/t");
  await pair.push("--force", "other:main", "other:refs/tags/t", "other:refs/keep/x");
  await pair.push(":fresh", ":refs/keep/x");
}

describe("core.logAllRefUpdates", () => {
  for (const bare of [true, false]) {
    for (const value of [undefined, "false", "true", "always"] as const) {
      it(`${value ?? "not set"}, in a ${bare ? "bare" : "non-bare"} repository: git's logs`, async () => {
        pair = await startPushBesideGit({ bare });
        await pair.both("config", "receive.denyCurrentBranch", "ignore");
        await pair.both("config", "--unset-all", "core.logAllRefUpdates").catch(() => undefined);
        if (value !== undefined) await pair.both("config", "core.logAllRefUpdates", value);
        await pushMuch();
        expect(shapes(pair.ours)).toEqual(shapes(pair.theirs));
        const names = Object.keys(logsOf(pair.ours));
        const logs = value === "true" || value === "always" || (value === undefined && !bare);
        expect(names.includes("refs/notes/x")).toBe(logs);
        expect(names.includes("refs/tags/t")).toBe(value === "always");
        // What is deleted takes its log with it.
        expect(names).not.toContain("refs/heads/fresh");
        await pair.ours.repository.run("fsck", "--strict");
      });
    }
  }

  it("names who pushed, and git reads the log", async () => {
    pair = await startPushBesideGit({
      server: {
        authenticate: (credentials) =>
          credentials.kind === "basic" ? { user: credentials.user } : undefined,
      },
    });
    await pair.ours.repository.run("config", "core.logAllRefUpdates", "true");
    const url = pair.ours.url.replace("//", "//grace:secret@");
    await pair.app.run("push", "-q", url, "two:main");
    const [line = ""] = logsOf(pair.ours)["refs/heads/main"] ?? [];
    expect(line).toMatch(/ grace <grace@127\.0\.0\.1> \d+ \+0000\tpush$/);
    const [one, two] = [await pair.app.run("rev-parse", "one"), await pair.app.run("rev-parse", "two")];
    expect(line.startsWith(`${one} ${two} `)).toBe(true);
    expect(await pair.ours.repository.run("log", "-g", "--format=%gn %gs", "main")).toBe("grace push");
    expect(await pair.ours.repository.run("rev-parse", "main@{1}")).toBe(one);
  });

  it("goes on in a log that stands there, though none would be begun", async () => {
    pair = await startPushBesideGit();
    await pair.both("config", "core.logAllRefUpdates", "true");
    await pair.push("two:main");
    await pair.both("config", "core.logAllRefUpdates", "false");
    await pair.push("--force", "one:main", "one:late");
    expect(shapes(pair.ours)).toEqual(shapes(pair.theirs));
    expect(logsOf(pair.ours)["refs/heads/main"]).toHaveLength(2);
    expect(Object.keys(logsOf(pair.ours))).not.toContain("refs/heads/late");
  });
});
