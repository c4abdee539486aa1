/** Thousands of refs: listed by prefix and peeled, cloned, fetched by pattern, as from git; and tags that come along by themselves. */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { formatPackHeader } from "../src/pack/pack-writer.js";
import { encodePktLine, FLUSH } from "../src/protocol/wire/pkt-line.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { commitHead, data, importRepository } from "./support/fast-import.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { type GitHttpBackend, startGitHttpBackend } from "./support/git-http-backend.js";
import { send } from "./support/raw-http.js";

let workspace: GitClient;
let disk: TestServer;
let memory: TestServer;
let judge: GitHttpBackend;

beforeEach(async () => {
  workspace = createWorkspace();
  disk = await createTestServer({ repositories: workspace.directory, durability: "none" });
  memory = await createTestServer();
  judge = await startGitHttpBackend(workspace.directory);
});
afterEach(async () => {
  await disk.close();
  await memory.close();
  await judge.close();
  removeDirectory(workspace);
});

const BRANCHES = 5000;
const TAGGER = "tagger Ada <ada@example.org> 1600000000 +0000\n";

const branchName = (i: number): string => `refs/heads/team${i % 7}/branch-${String(i).padStart(4, "0")}`;

/** All at once, without the client, which takes its time over so many. */
async function pushBranches(url: string, oid: string): Promise<void> {
  const commands = Array.from({ length: BRANCHES }, (_, i) =>
    encodePktLine(`${"0".repeat(40)} ${oid} ${branchName(i)}${i === 0 ? "\0report-status" : ""}`),
  );
  const pack = formatPackHeader(0);
  const { body } = await send(`${url}/git-receive-pack`, {
    headers: { "content-type": "application/x-git-receive-pack-request" },
    body: Buffer.concat([...commands, FLUSH, pack, createHash("sha1").update(pack).digest()]),
  });
  expect(body.toString("latin1").split("ok refs/heads/")).toHaveLength(BRANCHES + 1);
}

/** Adds to packed-refs, which `git pack-refs` has just written: sorted by name. */
async function addBranches(app: GitClient, oid: string): Promise<void> {
  const path = join(app.directory, "packed-refs");
  const [head = "", ...entries] = readFileSync(path, "latin1")
    .split(/\n(?!\^)/)
    .filter((line) => line !== "");
  for (let i = 0; i < BRANCHES; i++) {
    entries.push(`${oid} ${branchName(i)}`);
  }
  const nameOf = (entry: string): string => entry.split(/[ \n]/)[1] ?? "";
  entries.sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  writeFileSync(path, `${[head, ...entries].join("\n").trimEnd()}\n`);
  expect((await app.run("for-each-ref", "--format=%(refname)")).split("\n")).toHaveLength(BRANCHES + 51);
}

describe("five thousand refs", () => {
  it("are listed by prefix, peeled, cloned and fetched as from git", async () => {
    const tags = Array.from({ length: 50 }, (_, i) => `v${String(i).padStart(4, "0")}`);
    const app = await importRepository(
      workspace,
      "app",
      `${commitHead("refs/heads/main", 0, "first")}${tags
        .map((name) => `tag ${name}\nfrom refs/heads/main\n${TAGGER}${data(name)}`)
        .join("")}`,
    );
    await app.run("pack-refs", "--all");
    await app.run("push", "-q", "--mirror", memory.urlOf("app"));
    const oid = await app.run("rev-parse", "main");
    await addBranches(app, oid);
    await pushBranches(memory.urlOf("app"), oid);
    for (const url of [disk.urlOf("app"), memory.urlOf("app")]) {
      for (const version of [0, 2]) {
        const git = (...args: readonly string[]) =>
          workspace.run("-c", `protocol.version=${version}`, ...args);
        for (const patterns of [[], ["refs/heads/team3/*"], ["v000*"], ["main"], ["absent"]]) {
          expect(await git("ls-remote", url, ...patterns)).toBe(
            await git("ls-remote", judge.urlOf("app.git"), ...patterns),
          );
        }
      }
      await workspace.run("clone", "-q", "--bare", url, "copy.git");
      const copy = workspace.in("copy.git");
      const refs = await copy.run("for-each-ref", "--format=%(refname)");
      expect(refs.split("\n")).toHaveLength(BRANCHES + 51);
      await copy.run(
        "-c",
        "core.fsync=none",
        "fetch",
        "-q",
        url,
        "refs/heads/team1/branch-00*:refs/heads/one/*",
      );
      removeDirectory(copy);
    }
  });
});

describe("tags", () => {
  it("come along with what they name, and not before", async () => {
    const app = await importRepository(
      workspace,
      "app",
      [1, 2, 3, 4]
        .map((i) => `${commitHead("refs/heads/main", i, `${i}`)}M 100644 inline f\n${data(`${i}`)}`)
        .join(""),
    );
    await app.run("branch", "older", "main~2");
    await app.run("tag", "-a", "-m", "old", "v-old", "older");
    await app.run("tag", "-a", "-m", "of a tag", "nested", "v-old");
    await app.run("tag", "light", "older");
    await app.run("tag", "-a", "-m", "new", "v-new", "main");
    await app.run("push", "-q", "--mirror", memory.urlOf("app"));
    for (const url of [disk.urlOf("app"), memory.urlOf("app"), judge.urlOf("app.git")]) {
      for (const version of [0, 2]) {
        await workspace.run("init", "-q", "copy");
        const copy = workspace.in("copy");
        const fetch = (...args: readonly string[]) =>
          copy.run("-c", `protocol.version=${version}`, "fetch", "-q", ...args);
        const tags = async () => (await copy.run("tag", "--list")).split("\n");
        await copy.run("remote", "add", "origin", url);
        await fetch("origin", "older");
        await fetch("origin", "older:refs/remotes/origin/older");
        expect(await tags()).toEqual(["light", "nested", "v-old"]);
        await fetch("--no-tags", "origin", "main:refs/remotes/origin/main");
        expect(await tags()).not.toContain("v-new");
        await fetch("origin");
        expect(await tags()).toEqual(["light", "nested", "v-new", "v-old"]);
        await copy.run("fsck");
        removeDirectory(copy);
      }
    }
  });
});
