/** Shallow lines of a push that are not true, in a repository that takes shallow pushes: no history is cut by them. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hashObject } from "../src/object/object-id.js";
import { formatEntry } from "../src/pack/pack-writer.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, removeDirectory, type GitClient } from "./support/git-client.js";
import { pktLine, send } from "./support/raw-http.js";
import { formatCommands, RECEIVE_PACK_TYPE, sealPack } from "./support/raw-push.js";

const WHO = "Ada <ada@example.org> 1700000000 +0100";
const EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
const NOWHERE = "1".repeat(40);

describe("untrue shallow lines", () => {
  let workspace: GitClient;
  let server: TestServer;
  let bare: GitClient;

  beforeAll(async () => {
    workspace = createWorkspace();
    bare = workspace.in("repositories/app.git");
    await workspace.run("init", "-q", "--bare", "repositories/app.git");
    await bare.run("config", "receive.shallowUpdate", "true");
    server = await createTestServer({
      repositories: join(workspace.directory, "repositories"),
      durability: "none",
    });
    await workspace.run("init", "-q", "work");
    const work = workspace.in("work");
    for (const text of ["one", "two", "three"]) await work.run("commit", "-q", "--allow-empty", "-m", text);
    await work.run("push", "-q", server.urlOf("app"), "main");
  });
  afterAll(async () => {
    await server.close();
    removeDirectory(workspace);
  });

  const commit = (parent: string, message: string): { readonly oid: string; readonly entry: Buffer } => {
    const data = Buffer.from(
      `tree ${EMPTY_TREE}\nparent ${parent}\nauthor ${WHO}\ncommitter ${WHO}\n\n${message}\n`,
    );
    return { oid: hashObject("sha1", "commit", data), entry: formatEntry("commit", data) };
  };

  async function push(ref: string, shallow: readonly string[], parent: string): Promise<string> {
    const { oid, entry } = commit(parent, ref);
    const body = [
      shallow.map((line) => pktLine(`shallow ${line.replace("self", oid)}`)).join(""),
      formatCommands([{ newOid: oid, name: ref }]),
      sealPack(2, entry, formatEntry("tree", Buffer.alloc(0))),
    ];
    const answer = await send(`${server.urlOf("app")}/git-receive-pack`, {
      body: Buffer.concat(body.map((part) => Buffer.from(part))),
      headers: { "Content-Type": RECEIVE_PACK_TYPE },
    });
    return answer.body.toString();
  }

  const shallowFile = (): string => {
    const path = join(bare.directory, "shallow");
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  };

  it("are not taken for commits that are there, or that nobody has", async () => {
    const tip = await bare.run("rev-parse", "main");
    const before = await bare.run("rev-parse", "main~1");
    expect(await push("refs/heads/cut", ["self", tip, before, NOWHERE], NOWHERE)).toContain(
      "ok refs/heads/cut",
    );
    expect(shallowFile()).toBe(`${commit(NOWHERE, "refs/heads/cut").oid}\n`);
    expect(await bare.run("rev-list", "--count", "main")).toBe("3");
    await workspace.run("clone", "-q", "-b", "main", server.urlOf("app"), "copy");
    expect(await workspace.in("copy").run("rev-list", "--count", "main")).toBe("3");
    expect((await bare.try("fsck", "--strict")).status).toBe(0);
  });

  it("of a real client are true", async () => {
    await workspace.run("init", "-q", "other");
    const other = workspace.in("other");
    for (const text of ["a", "b", "c"]) await other.run("commit", "-q", "--allow-empty", "-m", text);
    await workspace.run("clone", "-q", "--depth=2", `file://${other.directory}`, "shallow");
    const shallow = workspace.in("shallow");
    await shallow.run("push", "-q", server.urlOf("app"), "main:refs/heads/shallow");
    expect(shallowFile()).toContain(await other.run("rev-parse", "main~1"));
    expect(await bare.run("rev-list", "--count", "refs/heads/shallow")).toBe("2");
    expect((await bare.try("fsck", "--strict")).status).toBe(0);
  });

  it("do not make up for a parent that is missing elsewhere", async () => {
    const tip = await bare.run("rev-parse", "main");
    const untouched = shallowFile();
    expect(await push("refs/heads/bad", [tip, NOWHERE], "2".repeat(40))).toContain("ng refs/heads/bad");
    expect(shallowFile()).toBe(untouched);
  });

  it("are not even looked at in a push that needs none", async () => {
    const tip = await bare.run("rev-parse", "main");
    const untouched = shallowFile();
    expect(await push("refs/heads/whole", ["self", tip], tip)).toContain("ok refs/heads/whole");
    expect(shallowFile()).toBe(untouched);
    expect(await bare.run("rev-list", "--count", "whole")).toBe("4");
  });
});
