/** Paths that want out of the served directory, or into a repository's insides: nothing outside is read or written. */
import { mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, removeDirectory, type GitClient } from "./support/git-client.js";
import { converse, send } from "./support/raw-http.js";
import { pushOfBlob, RECEIVE_PACK_TYPE } from "./support/raw-push.js";

/** `{}` stands for the rest of the path; what is behind a name is the answer to reading and to pushing. */
const NAMES: readonly (readonly [name: string, read: number, push: number])[] = [
  ["/app.git", 200, 200],
  ["/app", 200, 200],
  ["/inner-link.git", 200, 200],
  ["/%61pp.git", 200, 200],
  // Upwards.
  ["/..", 404, 404],
  ["/../outside/secret.git", 404, 404],
  ["/../../outside/secret.git", 404, 404],
  ["/./../outside/secret.git", 404, 404],
  ["/app.git/../../outside/secret.git", 404, 404],
  ["/group/../../outside/secret.git", 404, 404],
  ["/..../outside/secret.git", 404, 404],
  ["/app.git/..", 404, 404],
  // Encoded once, twice, overlong, half.
  ["/%2e%2e/outside/secret.git", 404, 404],
  ["/%2E./outside/secret.git", 404, 404],
  ["/..%2foutside%2fsecret.git", 404, 404],
  ["/..%5coutside%5csecret.git", 404, 404],
  ["/%252e%252e/outside/secret.git", 404, 404],
  ["/%252e%252e%252foutside%252fsecret.git", 404, 404],
  ["/%c0%ae%c0%ae/outside/secret.git", 404, 404],
  ["/%e0%80%ae%e0%80%ae/outside/secret.git", 404, 404],
  ["/%", 404, 404],
  ["/%2", 404, 404],
  ["/%zz.git", 404, 404],
  ["/%u002e%u002e/outside/secret.git", 404, 404],
  // Other separators, and characters that end or hide names.
  ["/..\\outside\\secret.git", 404, 404],
  ["\\..\\outside\\secret.git", 400, 400],
  ["/app.git%00", 404, 404],
  ["/app%00.git", 404, 404],
  ["/app.git%0a", 404, 404],
  ["/app%0d%0aX-Evil: 1", 404, 404],
  ["/app.git%20", 404, 404],
  ["/%20app.git", 404, 404],
  ["/app.git%7f", 404, 404],
  ["/app.git%1b[31m", 404, 404],
  ["/app.git;x", 404, 404],
  ["/app.git:$DATA", 404, 404],
  ["/app.git~1", 404, 404],
  ["/-oProxyCommand=x", 404, 404],
  ["/--upload-pack=x", 404, 404],
  ["/$(id)", 404, 404],
  ["/`id`", 404, 404],
  ["/|id", 404, 404],
  ["/C:/outside", 404, 404],
  ["/con", 404, 404],
  ["/aux.git", 404, 404],
  // Absolute, doubled, empty.
  ["", 404, 404],
  ["/", 404, 404],
  ["//", 404, 404],
  ["//app.git", 404, 404],
  ["//etc/passwd", 404, 404],
  ["/app.git/", 404, 404],
  ["/app.git//", 404, 404],
  ["/.", 404, 404],
  ["/./app.git", 404, 404],
  // Insides of repositories, and names that are theirs.
  ["/app.git/objects", 404, 404],
  ["/app.git/refs/heads", 404, 404],
  ["/app.git/.git", 404, 404],
  ["/app.git/inside.git", 404, 404],
  ["/.git", 404, 404],
  ["/.git.git", 404, 404],
  ["/work/.git", 404, 404],
  ["/work/.git/modules", 404, 404],
  ["/work/sub", 404, 404],
  ["/app.git.git", 404, 404],
  ["/app.lock", 404, 404],
  ["/app.git.lock", 404, 404],
  ["/.hidden", 404, 404],
  ["/a.", 404, 404],
  // Links out of the directory.
  ["/link.git", 404, 404],
  ["/link", 404, 404],
  ["/directory-link/secret.git", 404, 404],
  ["/directory-link/new.git", 404, 404],
  ["/directory-link/deep/new.git", 404, 404],
  ["/pointer", 404, 404],
  ["/common", 404, 404],
  ["/dangling.git", 404, 409],
  ["/loop/x.git", 404, 404],
  // What is there but is no repository.
  ["/plain.git", 404, 409],
  ["/file.git", 404, 409],
  ["/file.git/x.git", 404, 404],
  // Long and foreign.
  [`/${"a".repeat(101)}.git`, 404, 404],
  [`/${"a".repeat(5000)}.git`, 404, 404],
  [`/${"a/".repeat(8)}a.git`, 404, 404],
  [`/${"../".repeat(1000)}etc`, 404, 404],
  ["/%C3%A9.git", 404, 404],
  ["/app%E2%80%AE.git", 404, 404],
  ["/app%EF%BC%8E%EF%BC%8E.git", 404, 404],
  ["/%ED%A0%80.git", 404, 404],
  ["/%FF%FE.git", 404, 404],
];

describe("paths", () => {
  let workspace: GitClient;
  let server: TestServer;
  let root: string;
  const errors: unknown[] = [];

  beforeAll(async () => {
    workspace = createWorkspace();
    root = join(workspace.directory, "repositories");
    for (const name of ["repositories/app.git", "outside/secret.git"])
      await workspace.run("init", "-q", "--bare", name);
    await workspace.run("init", "-q", "repositories/work");
    const link = (target: string, name: string): void => symlinkSync(target, join(root, name));
    link("app.git", "inner-link.git");
    link("../outside/secret.git", "link.git");
    link("../outside", "directory-link");
    link("../outside/nothing.git", "dangling.git");
    link("loop", "loop");
    mkdirSync(join(root, "plain.git"));
    writeFileSync(join(root, "file.git"), "no repository\n");
    writeFileSync(join(root, "pointer"), "gitdir: ../outside/secret.git\n");
    mkdirSync(join(root, "common/refs"), { recursive: true });
    writeFileSync(join(root, "common/HEAD"), "ref: refs/heads/main\n");
    writeFileSync(join(root, "common/commondir"), "../../outside/secret.git\n");
    server = await createTestServer({
      repositories: root,
      durability: "none",
      autoCreate: "push",
      log: ({ level, message, error }) => {
        if (level === "error") errors.push(message, error);
      },
    });
  });
  afterAll(async () => {
    await server.close();
    removeDirectory(workspace);
  });

  /** Everything outside of the root, and when it changed. */
  function outside(): readonly string[] {
    const directory = join(workspace.directory, "outside");
    const names = readdirSync(directory, { recursive: true, encoding: "utf8" }).toSorted();
    return [
      ...readdirSync(workspace.directory),
      ...["", ...names].map((name) => `${name} ${statSync(join(directory, name)).mtimeMs}`),
    ];
  }

  const served = (): readonly string[] => readdirSync(root).toSorted();

  it.each(NAMES)("%s is read with %i and pushed with %i", async (name, read, push) => {
    const before = [outside(), served()];
    const ask = (path: string) => send(server.url, { path: encodeURI(path).replaceAll("%25", "%") });
    expect((await ask(`${name}/info/refs?service=git-upload-pack`)).status).toBe(read);
    // A repository that could be made is shown empty; whether it can be made is told when it is to be made.
    expect([push, 200]).toContain((await ask(`${name}/info/refs?service=git-receive-pack`)).status);
    if (read !== 200) {
      for (const file of [
        "info/refs",
        "HEAD",
        "objects/info/packs",
        "config",
        `objects/ab/${"0".repeat(38)}`,
      ])
        expect((await ask(`${name}/${file}`)).status).toBe(read);
    }
    const pushed = await send(server.url, {
      method: "POST",
      path: encodeURI(`${name}/git-receive-pack`).replaceAll("%25", "%"),
      headers: { "Content-Type": RECEIVE_PACK_TYPE },
      body: pushOfBlob("pushed", "pushed"),
    });
    expect(pushed.status).toBe(push);
    expect(pushed.body.toString()).not.toContain(workspace.directory);
    expect([outside(), served()]).toEqual(before);
    expect(errors).toEqual([]);
  });

  it.each([
    "HEAD",
    "config",
    "hooks/update",
    "description",
    "info/exclude",
    "packed-refs",
    "shallow",
    "logs/HEAD",
  ])("gives out no %s that is no part of the dumb protocol", async (file) => {
    const { status } = await send(server.url, { path: `/app.git/${file}` });
    expect(status).toBe(file === "HEAD" ? 200 : 404);
  });

  it.each([
    "objects/info/../../config",
    "objects/pack/../../config",
    "objects/pack/pack-%2e%2e",
    "objects/info/commit-graph",
    "objects/ab/../../config",
    `objects/AB/${"0".repeat(38)}`,
    `objects/ab/${"0".repeat(37)}`,
    `objects/pack/pack-${"0".repeat(40)}.keep`,
    `objects/pack/pack-${"0".repeat(40)}.pack%00`,
    `objects/pack/tmp_pack`,
  ])("finds no file at %s", async (file) => {
    expect((await send(server.url, { path: `/app.git/${file}` })).status).toBe(404);
  });

  it.each([
    "*",
    "http://localhost/app.git/HEAD",
    "app.git/HEAD",
    "?service=git-upload-pack",
    "/app.git/HEAD#x",
  ])("takes the request target %s for what it is", async (target) => {
    const answer = await converse(
      server.url,
      `GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1.1 (400|404) /);
    expect(errors).toEqual([]);
  });
});
