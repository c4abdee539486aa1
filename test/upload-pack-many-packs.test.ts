/**
 * A repository that has received hundreds of pushes and keeps each as a pack: it is cloned and fetched from correctly,
 * and the files that are open for it are bounded.
 */
import { createHash, randomBytes } from "node:crypto";
import { readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ObjectType } from "../src/object/object-id.js";
import { formatEntry, formatPackHeader } from "../src/pack/pack-writer.js";
import { encodePktLine, FLUSH } from "../src/protocol/wire/pkt-line.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { send } from "./support/raw-http.js";

const PUSHES = 300;
/** Packs above 256 KiB are not kept in memory: these take a descriptor while they are open. */
const LARGE_EVERY = 7;
const LARGE_PUSHES = Math.ceil(PUSHES / LARGE_EVERY);
const LARGE_BYTES = 300 * 1024;

let workspace: GitClient;
let server: TestServer;
let repository: GitClient;
let url: string;

beforeAll(async () => {
  workspace = createWorkspace();
  server = await createTestServer({ repositories: workspace.directory, durability: "none" });
  await workspace.run("init", "-q", "--bare", "app.git");
  repository = workspace.in("app.git");
  await repository.run("config", "gc.auto", "0");
  url = server.urlOf("app");
  let parent: string | undefined;
  for (let i = 0; i < PUSHES; i++) {
    const large = i % LARGE_EVERY === 0;
    parent = await pushCommit(i, parent, large ? randomBytes(LARGE_BYTES) : Buffer.from(`${i}\n`));
  }
}, 120_000);
afterAll(async () => {
  await server.close();
  removeDirectory(workspace);
});

function idOf(type: ObjectType, content: Buffer): string {
  return createHash("sha1").update(`${type} ${content.length}\0`).update(content).digest("hex");
}

/** A push of one commit with one file, as a client sends it, without the client. */
async function pushCommit(i: number, parent: string | undefined, content: Buffer): Promise<string> {
  const blob = idOf("blob", content);
  const tree = Buffer.concat([Buffer.from("100644 file\0", "latin1"), Buffer.from(blob, "hex")]);
  const who = `Ada <ada@example.org> ${1_600_000_000 + i} +0000`;
  const lines = [
    `tree ${idOf("tree", tree)}`,
    ...(parent === undefined ? [] : [`parent ${parent}`]),
    `author ${who}`,
    `committer ${who}`,
    "",
    `push ${i}\n`,
  ];
  const commit = Buffer.from(lines.join("\n"));
  const oid = idOf("commit", commit);
  const pack = Buffer.concat([
    formatPackHeader(3),
    formatEntry("commit", commit),
    formatEntry("tree", tree),
    formatEntry("blob", content),
  ]);
  const { body } = await send(`${url}/git-receive-pack`, {
    headers: { "content-type": "application/x-git-receive-pack-request" },
    body: Buffer.concat([
      encodePktLine(`${parent ?? "0".repeat(40)} ${oid} refs/heads/main\0report-status`),
      FLUSH,
      pack,
      createHash("sha1").update(pack).digest(),
    ]),
  });
  expect(body.toString("latin1")).toContain("ok refs/heads/main");
  return oid;
}

/** How many packs of the repository this process has open. */
function openPacks(): number {
  if (process.platform !== "linux") return 0;
  let open = 0;
  for (const number of readdirSync("/proc/self/fd")) {
    try {
      if (readlinkSync(`/proc/self/fd/${number}`).endsWith(".pack")) open++;
    } catch {
      // It was closed since.
    }
  }
  return open;
}

describe("three hundred pushes", () => {
  it("are three hundred packs", () => {
    const names = readdirSync(join(repository.directory, "objects", "pack"));
    expect(names.filter((name) => name.endsWith(".pack"))).toHaveLength(PUSHES);
  });

  for (const version of [0, 2]) {
    it(`are cloned, deepened and fetched in v${version}`, async () => {
      const git = (...args: readonly string[]) => workspace.run("-c", `protocol.version=${version}`, ...args);
      await git("clone", "-q", url, `copy-${version}`);
      const copy = workspace.in(`copy-${version}`);
      expect(await copy.run("rev-list", "--count", "origin/main")).toBe(String(PUSHES));
      expect(await copy.run("rev-list", "--objects", "--all", "--no-object-names")).toBe(
        await repository.run("rev-list", "--objects", "--all", "--no-object-names"),
      );
      await copy.run("fsck");
      await git("clone", "-q", "--depth=3", url, `shallow-${version}`);
      const shallow = workspace.in(`shallow-${version}`);
      await shallow.run("-c", `protocol.version=${version}`, "fetch", "-q", "--deepen=100");
      await shallow.run("-c", `protocol.version=${version}`, "fetch", "-q", "--unshallow");
      expect(await shallow.run("rev-list", "--count", "HEAD")).toBe(String(PUSHES));
    });
  }

  it("take no more files for more clients, and none once they are repacked and gone", async () => {
    await Promise.all(
      Array.from({ length: 8 }, (_, i) =>
        workspace.run("clone", "-q", "--bare", `--depth=${i + 1}`, url, `many-${i}`),
      ),
    );
    // One descriptor a large pack, whoever reads it; small packs stand in memory.
    if (process.platform === "linux") expect(openPacks()).toBeGreaterThan(1);
    expect(openPacks()).toBeLessThanOrEqual(LARGE_PUSHES);
    await repository.run("repack", "-adq");
    await workspace.run("clone", "-q", "--bare", url, "repacked.git");
    expect(openPacks()).toBeLessThanOrEqual(1);
    expect(await workspace.in("repacked.git").run("rev-list", "--count", "main")).toBe(String(PUSHES));
  });
});
