/** A server that is killed in the middle of a build: nothing of it runs on, and the next server begins the build anew. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createAppStore } from "../src/database/app-store.js";
import { type Build, createBuildStore } from "../src/database/build-store.js";
import { openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import { INSTALL_TIMEOUT_MS, installBubblewrap, SKIP_SANDBOX } from "./support/bubblewrap.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

const SERVER = fileURLToPath(new URL("./support/deploy-server.js", import.meta.url));
let workspace: GitClient;
let app: GitClient;
const servers: ChildProcess[] = [];

beforeAll(async () => {
  if (!SKIP_SANDBOX) await installBubblewrap();
}, INSTALL_TIMEOUT_MS);
beforeEach(async () => {
  workspace = createWorkspace();
  chmodSync(workspace.directory, 0o711);
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
});
afterEach(async () => {
  for (const server of servers.splice(0)) await kill(server);
  removeDirectory(workspace);
});

async function start(executor: string): Promise<{ readonly server: ChildProcess; readonly url: string }> {
  const server = spawn(process.execPath, [SERVER, workspace.directory, executor], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  servers.push(server);
  let text = "";
  for await (const chunk of server.stdout as Readable) {
    text += String(chunk);
    if (text.includes("\n")) break;
  }
  return { server, url: `${text.trim()}/shop.git` };
}

async function kill(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  const ended = once(server, "exit");
  server.kill("SIGKILL");
  await ended;
}

async function builds(): Promise<readonly Build[]> {
  const database = await openDatabase(
    parseDatabaseLocation(`sqlite:${join(workspace.directory, "state/deploy.sqlite")}`),
  );
  try {
    const found = await createAppStore(database).find("shop");
    return found === undefined ? [] : await createBuildStore(database).list(found.id);
  } finally {
    await database.close();
  }
}

/** By the first build, so far. */
async function printed(): Promise<string> {
  const [build] = await builds();
  const log = join(workspace.directory, "deploy", "logs", `${build?.id ?? "none"}.log`);
  return existsSync(log) ? readFileSync(log, "utf8") : "";
}

async function until(what: () => Promise<boolean> | boolean): Promise<void> {
  for (let looks = 0; !(await what()); looks++) {
    if (looks > 600) throw new Error("it does not happen");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const isThere = (text: string): boolean =>
  readdirSync("/proc").some((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(text);
    } catch {
      return false;
    }
  });

describe.each(["plain", "sandbox"])("a server with builds (%s) that is killed", (executor) => {
  it("leaves a build that the next one does, and that the next push finds", async ({ skip }) => {
    if (executor === "sandbox" && SKIP_SANDBOX) skip();
    const mark = `gitwharf-${randomUUID()}`;
    // The first builder leaves in the cache that it was there, and comes to no end.
    writeFileSync(
      join(app.directory, "gitwharf.yml"),
      `build: |\n  : ${mark}\n  if [ -e "$CACHE_DIR/was-here" ]; then echo done; exit 0; fi\n` +
        '  touch "$CACHE_DIR/was-here"; echo waiting\n  while :; do sleep 0.1; done\n',
    );
    await app.run("add", "-A");
    await app.run("commit", "-q", "-m", "x");
    const first = await start(executor);
    const pushed = app.try("push", first.url, "main");
    // Not what is printed of the command itself.
    await until(async () => /^ {7}waiting$/m.test(await printed()));
    expect(isThere(mark)).toBe(true);
    await kill(first.server);
    expect((await pushed).status).not.toBe(0);
    await until(() => !isThere(mark));

    const second = await start(executor);
    await until(async () => (await builds())[0]?.status === "succeeded");
    expect(await builds()).toMatchObject([{ claims: 2, attempt: 1 }]);
    const again = await app.try("push", second.url, "main");
    expect(again.stderr).toContain("done");
    expect(again.status).toBe(0);
    expect(await builds()).toHaveLength(1);
    expect(existsSync(join(workspace.directory, "deploy", "builds", (await builds())[0]?.id ?? "x"))).toBe(
      false,
    );
  });
});
