/**
 * What a client hears while the pack is made: signs of life at intervals (`uploadpack.keepAlive`), and the text that
 * people read, or nothing of it.
 *
 * A sign of life is an empty frame on band 2, not on band 1 as git's: the two mean the same to a client, and band 2 may
 * stand anywhere in an answer of `sideband-all`.
 */
import { request as httpRequest } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FLUSH } from "../src/protocol/wire/pkt-line.js";
import type { ObjectReader } from "../src/storage/contracts/object-reader.js";
import type { Repository, RepositoryStore } from "../src/storage/contracts/repository.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { DEFAULT_REPOSITORY_SETTINGS } from "../src/storage/repository-settings-defaults.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { createHistory } from "./support/history.js";
import { command, packetsOf, type RawRequest, requestBytes } from "./support/raw-fetch.js";

const KEEP_ALIVE = "\u0002";

let workspace: GitClient;
let server: TestServer;
let oids: { readonly want: string; readonly parent: string; readonly have: string };
/** Reading of objects waits for it. */
let gate: Promise<void>;
let keepAliveSeconds: number;
let commits = 12;

beforeEach(async () => {
  workspace = createWorkspace();
  gate = Promise.resolve();
  keepAliveSeconds = 0.005;
  // A history of its own for each test: what was read once is kept.
  const repository = await createHistory(workspace, "app.git", { commits: commits++ });
  oids = {
    want: await repository.run("rev-parse", "main"),
    parent: await repository.run("rev-parse", "main~1"),
    have: await repository.run("rev-parse", "main~2"),
  };
  server = await createTestServer({ repositories: slowStore() });
  await repository.run("push", "-q", "--mirror", server.urlOf("app"));
});
afterEach(async () => {
  await server.close();
  removeDirectory(workspace);
});

function slowStore(): RepositoryStore {
  const store = createMemoryRepositoryStore({
    settings: () => ({
      ...DEFAULT_REPOSITORY_SETTINGS,
      uploadPack: { ...DEFAULT_REPOSITORY_SETTINGS.uploadPack, keepAliveSeconds },
    }),
  });
  return {
    prepare: (name, options) => store.prepare(name, options),
    create: (name, options) => store.create(name, options),
    delete: (name) => store.delete(name),
    list: () => store.list(),
    close: () => store.close(),
    async open(name) {
      const repository = await store.open(name);
      return repository === undefined ? undefined : slowRepository(repository);
    },
  };
}

function slowRepository(repository: Repository): Repository {
  return {
    name: repository.name,
    objectFormat: repository.objectFormat,
    id: repository.id,
    refs: repository.refs,
    settings: () => repository.settings(),
    async snapshot() {
      const { version, head, refs, objects, shallow, alternateTips, release } = await repository.snapshot();
      return { version, head, refs, objects: slowObjects(objects), shallow, alternateTips, release };
    },
    openQuarantine: () => repository.openQuarantine(),
    checkedOutBranches: () => repository.checkedOutBranches(),
    close: () => repository.close(),
  };
}

function slowObjects(objects: ObjectReader): ObjectReader {
  const slow = {
    async read(oid: string) {
      await gate;
      return objects.read(oid);
    },
    async readHeader(oid: string) {
      await gate;
      return objects.readHeader(oid);
    },
    async has(oid: string) {
      await gate;
      return objects.has(oid);
    },
  };
  return new Proxy(objects, {
    get: (target, name) => {
      if (name === "read" || name === "readHeader" || name === "has") return slow[name];
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}

/** Posts and calls `onBytes` with what has come so far. */
function post(version: 0 | 2, lines: RawRequest, onBytes: (soFar: Buffer) => void): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const url = new URL(`${server.urlOf("app")}/git-upload-pack`);
    const outgoing = httpRequest(
      url,
      {
        method: "POST",
        headers: {
          "content-type": "application/x-git-upload-pack-request",
          "git-protocol": `version=${version}`,
        },
      },
      (incoming) => {
        let soFar = Buffer.alloc(0);
        incoming.on("data", (chunk: Buffer) => {
          soFar = Buffer.concat([soFar, chunk]);
          onBytes(soFar);
        });
        incoming.on("error", reject);
        incoming.on("end", () => resolve(soFar));
      },
    );
    outgoing.on("error", reject);
    outgoing.end(requestBytes(lines));
  });
}

function beatsIn(bytes: Buffer): number {
  return bytes.toString("latin1").split(`0005${KEEP_ALIVE}`).length - 1;
}

/** The answer to a request whose work goes on once three signs of life have come. */
async function answerAfterThreeBeats(version: 0 | 2, lines: RawRequest): Promise<readonly string[]> {
  let open: () => void = () => undefined;
  gate = new Promise((resolve) => (open = resolve));
  const bytes = await post(version, lines, (soFar) => {
    if (beatsIn(soFar) >= 3) open();
  });
  return (await packetsOf(bytes)).packets.map((packet) => packet.slice(0, 12));
}

describe("signs of life", () => {
  it("come while a pack is planned in v0", async () => {
    const packets = await answerAfterThreeBeats(0, [
      `want ${oids.want} side-band-64k no-progress filter\n`,
      "filter blob:none\n",
      FLUSH,
      "done\n",
    ]);
    expect(packets.slice(0, 4)).toEqual(["NAK", KEEP_ALIVE, KEEP_ALIVE, KEEP_ALIVE]);
    expect(packets.find((packet) => packet.startsWith("\u0001PACK"))).toBeDefined();
    expect(packets.at(-1)).toBe("flush");
  });

  it("come behind the packfile line in v2", async () => {
    const request = command("fetch", `want ${oids.want}`, "filter blob:none", "no-progress", "done");
    const packets = await answerAfterThreeBeats(2, request);
    expect(packets.slice(0, 4)).toEqual(["packfile", KEEP_ALIVE, KEEP_ALIVE, KEEP_ALIVE]);
    expect(packets.find((packet) => packet.startsWith("\u0001PACK"))).toBeDefined();
  });

  it("come before anything is said with sideband-all", async () => {
    const request = command("fetch", `want ${oids.parent}`, `have ${oids.have}`, "sideband-all", "done");
    const packets = await answerAfterThreeBeats(2, request);
    expect(packets.slice(0, 3)).toEqual([KEEP_ALIVE, KEEP_ALIVE, KEEP_ALIVE]);
    expect(packets).toContain("\u0001packfile");
  });

  it("do not come with uploadpack.keepAlive=0, nor more often than asked for with a huge one", async () => {
    for (const seconds of [0, 10_000_000]) {
      keepAliveSeconds = seconds;
      gate = delay(30);
      const request = command("fetch", `want ${oids.want}`, "filter tree:1", "no-progress", "done");
      expect(beatsIn(await post(2, request, () => undefined))).toBe(0);
    }
  });

  it("do not disturb the client", async () => {
    for (const version of [0, 2]) {
      keepAliveSeconds = 0.001;
      gate = delay(40);
      const directory = `copy-${version}`;
      await workspace.run("-c", `protocol.version=${version}`, "clone", "-q", server.urlOf("app"), directory);
      await workspace.in(directory).run("fsck");
    }
  });
});

describe("progress", () => {
  for (const version of [0, 2]) {
    it(`is shown to a person who asks for it, and to nobody else, in v${version}`, async () => {
      const clone = (how: string, directory: string) =>
        workspace.try("-c", `protocol.version=${version}`, "clone", how, server.urlOf("app"), directory);
      const shown = await clone("--progress", "shown");
      expect(shown.status).toBe(0);
      for (const text of [
        /^remote: Enumerating objects: (\d+), done\.\s*$/m,
        /^remote: Counting objects: 100% \((\d+)\/\1\), done\.\s*$/m,
        /^remote: Total (\d+) \(delta \d+\), reused \d+ \(delta \d+\), pack-reused \d+\s*$/m,
      ]) {
        expect(shown.stderr).toMatch(text);
      }
      for (const how of ["-q", "--no-progress", "--no-verbose"]) {
        const silent = await clone(how, `silent${how}`);
        expect(silent.status).toBe(0);
        expect(silent.stderr).not.toContain("remote:");
      }
    });
  }
});
