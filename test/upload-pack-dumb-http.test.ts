/**
 * The read side without upload-pack: clones by a client that is told to speak dumb HTTP, of loose objects, of packs
 * and of both; transfers that are resumed; and who is refused.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { createHistory } from "./support/history.js";
import { send } from "./support/raw-http.js";

const DUMB = { env: { GIT_SMART_HTTP: "0" } };

let workspace: GitClient;
let server: TestServer;

beforeEach(async () => {
  workspace = createWorkspace();
  server = await createTestServer({ repositories: workspace.directory });
});
afterEach(async () => {
  await server.close();
  removeDirectory(workspace);
});

async function cloneAndCompare(app: GitClient, directory: string): Promise<void> {
  const cloned = await workspace.tryWith(DUMB, "clone", "-q", "--mirror", server.urlOf("app"), directory);
  expect(cloned.status, cloned.stderr).toBe(0);
  const copy = workspace.in(directory);
  await copy.run("fsck");
  const refs = (client: GitClient) => client.run("for-each-ref", "--format=%(refname) %(objectname)");
  expect(await refs(copy)).toBe(await refs(app));
  expect(await copy.run("symbolic-ref", "HEAD")).toBe("refs/heads/main");
  const objects = (client: GitClient) => client.run("rev-list", "--objects", "--all", "--no-object-names");
  expect(await objects(copy)).toBe(await objects(app));
}

for (const objectFormat of ["sha1", "sha256"] as const) {
  describe(objectFormat, () => {
    it("is cloned loose, packed, and both, and fetched from again", async () => {
      const app = await createHistory(workspace, "app.git", { objectFormat, commits: 12 });
      await app.run("repack", "-adq");
      await cloneAndCompare(app, "packed");
      await workspace.run("clone", "-q", app.directory, "work");
      const work = workspace.in("work");
      await work.run("commit", "-q", "--allow-empty", "-m", "loose");
      await work.run("push", "-q", "origin", "main");
      await cloneAndCompare(app, "both");
      await app.run("gc", "-q", "--prune=now");
      await cloneAndCompare(app, "again");
      const before = workspace.in("packed");
      const fetched = await before.tryWith(DUMB, "fetch", "-q", "origin");
      expect(fetched.status, fetched.stderr).toBe(0);
      expect(await before.run("rev-parse", "main")).toBe(await app.run("rev-parse", "main"));
    });

    it("lists refs with what tags lead to, for a client without the service parameter", async () => {
      const app = await createHistory(workspace, "app.git", { objectFormat, commits: 12 });
      const { body, headers } = await send(`${server.urlOf("app")}/info/refs`);
      await app.run("update-server-info");
      expect(body.toString()).toBe(readFileSync(join(app.directory, "info", "refs"), "utf8"));
      expect(headers["cache-control"]).toContain("no-cache");
    });
  });
}

describe("a transfer that was cut off", () => {
  it("is resumed byte by byte from where it ended", async () => {
    const app = await createHistory(workspace, "app.git", { commits: 12 });
    await app.run("repack", "-adq");
    const directory = join(app.directory, "objects", "pack");
    const [pack = ""] = readdirSync(directory).filter((name) => name.endsWith(".pack"));
    const url = `${server.urlOf("app")}/objects/pack/${pack}`;
    const whole = await send(url);
    expect(whole.status).toBe(200);
    expect(whole.headers["accept-ranges"]).toBe("bytes");
    const size = whole.body.length;
    const pieces: Buffer[] = [];
    let at = 0;
    for (const length of [1, 19, 4096, size]) {
      const end = Math.min(at + length, size);
      const range = length === size ? `bytes=${at}-` : `bytes=${at}-${end - 1}`;
      const part = await send(url, { headers: { range } });
      expect(part.status).toBe(206);
      expect(part.headers["content-range"]).toBe(`bytes ${at}-${end - 1}/${size}`);
      expect(part.headers["content-length"]).toBe(String(end - at));
      pieces.push(part.body);
      at = end;
    }
    expect(Buffer.concat(pieces).equals(whole.body)).toBe(true);
    const behind = await send(url, { headers: { range: `bytes=${size}-` } });
    expect(behind.status).toBe(416);
    expect(behind.headers["content-range"]).toBe(`bytes */${size}`);
    const last = await send(url, { headers: { range: "bytes=-20" } });
    expect(last.body.equals(whole.body.subarray(-20))).toBe(true);
    const head = await send(url, { method: "HEAD", headers: { range: "bytes=0-9" } });
    expect(head.body).toHaveLength(0);
  });
});

describe("who may not", () => {
  const refusedClone = async (): Promise<string> => {
    const cloned = await workspace.tryWith(DUMB, "clone", "-q", server.urlOf("app"), "copy");
    expect(cloned.status).not.toBe(0);
    // The smart protocol goes on.
    await workspace.run("clone", "-q", server.urlOf("app"), "smart");
    return cloned.stderr;
  };

  it("reads no files with http.getanyfile=false", async () => {
    const app = await createHistory(workspace, "app.git", { commits: 3 });
    await app.run("config", "http.getanyfile", "false");
    expect(await refusedClone()).toContain("403");
    for (const path of ["HEAD", "info/refs", "objects/info/packs"]) {
      expect((await send(`${server.urlOf("app")}/${path}`)).status, path).toBe(403);
    }
  });

  it("reads no files of a repository that hides refs", async () => {
    const app = await createHistory(workspace, "app.git", { commits: 3 });
    await app.run("config", "uploadpack.hideRefs", "refs/hidden");
    expect(await refusedClone()).toContain("403");
  });

  it("reads nothing with http.uploadpack=false", async () => {
    const app = await createHistory(workspace, "app.git", { commits: 3 });
    await app.run("config", "http.uploadpack", "false");
    const smart = await workspace.try("clone", "-q", server.urlOf("app"), "copy");
    expect(smart.status).not.toBe(0);
    expect(smart.stderr).toContain("403");
  });
});
