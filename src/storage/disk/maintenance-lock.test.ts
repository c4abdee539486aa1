/** `gc.pid`, shared with git: each keeps out of the other's way. */
import { existsSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createWorkspace, type GitClient, removeDirectory } from "../../../test/support/git-client.js";
import { lockMaintenance } from "./maintenance-lock.js";

let workspace: GitClient;
let directory: string;
let path: string;

beforeEach(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "--bare", "app.git");
  directory = join(workspace.directory, "app.git");
  path = join(directory, "gc.pid");
});
afterEach(() => removeDirectory(workspace));

const lock = (): ReturnType<typeof lockMaintenance> => lockMaintenance(directory, { shared: "umask" });
const age = (file: string, seconds: number): void => {
  const then = Date.now() / 1000 - seconds;
  utimesSync(file, then, then);
};

describe("the lock of maintenance", () => {
  it("keeps git gc out while it is held, and lets it in afterwards", async () => {
    const unlock = await lock();
    expect(readFileSync(path, "utf8")).toBe(`${process.pid} ${hostname()}`);
    expect((await workspace.in("app.git").try("gc")).stderr).toContain("gc is already running");
    expect(await lock()).toBeUndefined();
    await unlock?.();
    await unlock?.();
    expect(existsSync(path)).toBe(false);
    await workspace.in("app.git").run("gc", "-q");
    expect(await lock()).toBeDefined();
  });

  it.each([
    ["a living process of this machine", `1 ${hostname()}`],
    ["a process of another machine", "1 elsewhere"],
  ])("is held by %s", async (_, text) => {
    writeFileSync(path, text);
    expect(await lock()).toBeUndefined();
    expect(readFileSync(path, "utf8")).toBe(text);
    expect(existsSync(`${path}.lock`)).toBe(false);
  });

  it.each([
    ["a process that has gone", `4194304 ${hostname()}`],
    ["one that had our number", `${process.pid} ${hostname()}`],
    ["nobody who can be read", "what is this"],
  ])("is not held by %s", async (_, text) => {
    writeFileSync(path, text);
    const unlock = await lock();
    expect(unlock).toBeDefined();
    await unlock?.();
    expect(existsSync(path)).toBe(false);
  });

  it("does not count after half a day, nor a lock file after an hour", async () => {
    writeFileSync(path, "1 elsewhere");
    age(path, 12 * 3600 + 10);
    writeFileSync(`${path}.lock`, "");
    expect(await lock()).toBeUndefined();
    age(`${path}.lock`, 3610);
    expect(await lock()).toBeDefined();
  });

  it("leaves a file that is not its own any more", async () => {
    const unlock = await lock();
    writeFileSync(path, "1 elsewhere");
    await unlock?.();
    expect(readFileSync(path, "utf8")).toBe("1 elsewhere");
  });

  it("does not make a repository anew that has gone", async () => {
    rmSync(directory, { recursive: true });
    expect(await lock()).toBeUndefined();
    expect(existsSync(directory)).toBe(false);
  });
});
