/** The first push makes the repository, whole; one that is refused or breaks off leaves nothing. On both backends. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ingestPack } from "../src/engine/ingest/ingest-pack.js";
import type { ProcReceiveResult, Push, PushCommand } from "../src/engine/push.js";
import { formatEntry } from "../src/pack/pack-writer.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { DEFAULT_REPOSITORY_SETTINGS } from "../src/storage/repository-settings-defaults.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { type MadePush, makePushes } from "./support/made-pushes.js";
import { openRequest, postHead } from "./support/open-request.js";
import { send } from "./support/raw-http.js";
import { blobOid, formatCommands, packOfBlobs, RECEIVE_PACK_TYPE, sealPack } from "./support/raw-push.js";

vi.setConfig({ testTimeout: 60_000 });

type Started = Partial<GitServerOptions>;

let workspace: GitClient;
let app: GitClient;
let server: TestServer;
let served: string;

beforeEach(async () => {
  workspace = createWorkspace();
  served = join(workspace.directory, "served");
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  writeFileSync(join(app.directory, "file"), "content\n");
  await app.run("add", ".");
  await app.run("commit", "-q", "-m", "first");
});
afterEach(async () => {
  await server.close();
  removeDirectory(workspace);
});

async function names(): Promise<string[]> {
  const all: string[] = [];
  for await (const name of server.server.store.list()) all.push(name);
  return all;
}

/** When all requests have ended. */
async function leavesNothing(): Promise<void> {
  await idle();
  expect(await names()).toEqual([]);
  expect(await server.server.store.open("group/app")).toBeUndefined();
  if (existsSync(served)) expect(readdirSync(served)).toEqual([]);
}

async function idle(): Promise<void> {
  for (let looks = 0; server.server.active > 0 && looks < 2000; looks++) await pause(5);
  expect(server.server.active).toBe(0);
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** A promise that the test keeps. */
function later<T>(): { readonly promise: Promise<T>; resolve(value: T): void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((done) => (resolve = done));
  return { promise, resolve: (value) => resolve(value) };
}

/** What a clone of it has, checked. */
async function clonedRefs(name: string, into: string): Promise<Record<string, string>> {
  await workspace.run("clone", "-q", "--mirror", server.urlOf(name), into);
  const clone = workspace.in(into);
  await clone.run("fsck", "--strict");
  const lines = (await clone.run("for-each-ref", "--format=%(refname) %(objectname)")).split("\n");
  return Object.fromEntries(lines.filter((line) => line !== "").map((line) => line.split(" ")));
}

for (const backend of ["disk", "memory"] as const) {
  describe(`a first push to a repository ${backend === "disk" ? "on disk" : "in memory"}`, () => {
    async function start(options: Started = {}): Promise<string> {
      server = await createTestServer({
        durability: "none",
        log: () => undefined,
        ...(backend === "disk" ? { repositories: served } : {}),
        ...options,
      });
      return server.urlOf("group/app");
    }

    const REFUSALS: Record<string, { readonly options: Started; readonly said: RegExp }> = {
      preReceive: { options: { handlers: { preReceive: () => "not today" } }, said: /not today/ },
      "a preReceive that throws": {
        options: {
          handlers: {
            preReceive: () => {
              throw new Error("broken");
            },
          },
        },
        said: /pre-receive hook declined/,
      },
      update: { options: { handlers: { update: () => "not this one" } }, said: /not this one/ },
      "reference-transaction": {
        options: { handlers: { referenceTransaction: (_push, state) => state !== "prepared" } },
        said: /remote rejected/,
      },
      "authorize, of the commands": {
        options: {
          authorize: ({ commands }) =>
            commands === undefined ? { allowed: true } : { allowed: false, reason: "not this ref" },
        },
        said: /\[remote rejected\].*\(not this ref\)/,
      },
      "authorize, of its making": {
        options: {
          authorize: ({ operation }) =>
            operation === "create" ? { allowed: false, reason: "nothing new" } : { allowed: true },
        },
        said: /403/,
      },
      "a limit": { options: { limits: { packObjectsMax: 1 } }, said: /unpack/ },
    };

    it.each(Object.keys(REFUSALS))("leaves nothing when it is refused by %s", async (who) => {
      const { options, said } = REFUSALS[who] ?? expect.fail();
      const url = await start(options);
      const pushed = await app.try("push", url, "main");
      expect(pushed.status).not.toBe(0);
      expect(pushed.stderr).toMatch(said);
      await leavesNothing();
      expect((await workspace.try("clone", "-q", url, "clone")).status).not.toBe(0);
    });

    it("leaves nothing by the time that a refused client has its answer", async () => {
      const url = await start({ handlers: { update: () => "no" } });
      expect((await app.try("push", url, "main")).stderr).toContain("(no)");
      // (Without waiting for anything.)
      expect(await names()).toEqual([]);
      if (backend === "disk") expect(readdirSync(served)).toEqual([]);
    });

    const blob = "content";
    const commands = (newOid: string, name = "refs/heads/main"): Buffer =>
      Buffer.from(formatCommands([{ newOid, name }]));
    const lonely = Buffer.from(
      `tree ${"1".repeat(40)}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nlonely\n`,
    );
    const BODIES: Record<string, { readonly body: () => Buffer; readonly said: RegExp }> = {
      "a corrupt pack": {
        body: () => {
          const pack = packOfBlobs(blob);
          pack[16] = (pack[16] ?? 0) ^ 0xff;
          return Buffer.concat([commands(blobOid(blob), "refs/tags/blob"), pack]);
        },
        said: /unpack (?!ok)/,
      },
      "half a pack": {
        body: () =>
          Buffer.concat([commands(blobOid(blob), "refs/tags/blob"), packOfBlobs(blob).subarray(0, 20)]),
        said: /unpack (?!ok)/,
      },
      "missing objects": {
        body: () => Buffer.concat([commands("2".repeat(40)), sealPack(1, formatEntry("commit", lonely))]),
        said: /ng refs\/heads\/main missing necessary objects/,
      },
      "a branch that names a blob": {
        body: () => Buffer.concat([commands(blobOid(blob)), packOfBlobs(blob)]),
        said: /ng refs\/heads\/main .*must name a commit/,
      },
      "a bad name": {
        body: () => Buffer.concat([commands(blobOid(blob), "refs/tags/a..b"), packOfBlobs(blob)]),
        said: /ng refs\/tags\/a\.\.b funny refname/,
      },
      "half a command": { body: () => Buffer.from("00a0000000"), said: /ERR/ },
      "the deletion of nothing": {
        body: () =>
          Buffer.from(
            formatCommands([{ oldOid: "3".repeat(40), newOid: "0".repeat(40), name: "refs/tags/a" }]),
          ),
        said: /unpack ok/,
      },
      "nothing (a probe)": { body: () => Buffer.from("0000"), said: /^$/ },
    };

    it.each(Object.keys(BODIES))("leaves nothing when it sends %s", async (what) => {
      const url = await start();
      const { body, said } = BODIES[what] ?? expect.fail();
      const headers = { "Content-Type": RECEIVE_PACK_TYPE };
      const answer = await send(`${url}/git-receive-pack`, { body: body(), headers });
      expect(answer.body.toString()).toMatch(said);
      await leavesNothing();
    });

    it("leaves nothing when only the refs are asked for", async () => {
      const url = await start();
      const answer = await send(`${url}/info/refs?service=git-receive-pack`);
      expect(answer.body.toString()).toContain("capabilities^{}");
      await leavesNothing();
    });

    it("leaves nothing when the connection breaks, wherever", async () => {
      await start();
      const [push] = (await makePushes(app, [3_000_000])) as [MadePush];
      const { length } = push.body;
      for (const bytes of [40, 400, length >> 1, length - 1]) {
        const head = postHead("git-receive-pack", { repository: "group/app", length });
        const request = await openRequest(
          server.url,
          Buffer.concat([Buffer.from(head), push.body.subarray(0, bytes)]),
        );
        for (let looks = 0; server.server.active === 0 && looks < 2000; looks++) await pause(5);
        expect(server.server.active).toBe(1);
        request.socket.resetAndDestroy();
        await leavesNothing();
      }
    });

    it("leaves nothing when the client is killed while a handler decides", async () => {
      const begun = later<Push>();
      const decided = later<undefined>();
      const preReceive = (push: Push): Promise<undefined> => {
        begun.resolve(push);
        return decided.promise;
      };
      const url = await start({ handlers: { preReceive } });
      const client = spawn("git", ["push", url, "main"], {
        cwd: app.directory,
        stdio: "ignore",
        detached: true,
      });
      const { signal } = await begun.promise;
      const gone = signal.aborted ? undefined : once(signal, "abort");
      process.kill(-(client.pid ?? expect.fail()), "SIGKILL");
      await gone;
      decided.resolve(undefined);
      await leavesNothing();
    });

    it("leaves nothing when the server gives up on it", async () => {
      const begun = later<undefined>();
      const preReceive = (push: Push): Promise<undefined> => {
        begun.resolve(undefined);
        return new Promise((done) => push.signal.addEventListener("abort", () => done(undefined)));
      };
      const url = await start({ handlers: { preReceive } });
      const pushed = app.try("push", url, "main");
      await begun.promise;
      const { store } = server.server;
      await server.close();
      expect((await pushed).status).not.toBe(0);
      await idle();
      if (backend === "disk") expect(readdirSync(served)).toEqual([]);
      else expect(await store.open("group/app")).toBeUndefined();
    });

    it("is shown to its handlers before anybody else sees it, and to postReceive in its place", async () => {
      const seen: unknown[] = [];
      const told = later<undefined>();
      const url = await start({
        handlers: {
          async preReceive(push) {
            seen.push(push.repository.name, (await push.repository.snapshot()).refs.all.length);
            seen.push(await server.server.store.open("group/app"));
            return undefined;
          },
          async postReceive(push, done) {
            seen.push(done.map(({ name }) => name));
            seen.push((await push.objects.read(done[0]?.newOid ?? ""))?.type);
            const snapshot = await push.repository.snapshot();
            seen.push(snapshot.refs.all.map(({ name }) => name));
            snapshot.release();
            if (backend === "disk") seen.push(push.repository.gitDirectory);
            told.resolve(undefined);
          },
        },
      });
      await app.run("push", "-q", url, "main");
      await told.promise;
      const refs = ["refs/heads/main"];
      const path = backend === "disk" ? [join(served, "group/app.git")] : [];
      expect(seen).toEqual(["group/app", 0, undefined, refs, "commit", refs, ...path]);
      expect(await names()).toEqual(["group/app"]);
      await idle();
      if (backend === "disk") {
        expect(readdirSync(served)).toEqual(["group"]);
        const packs = readdirSync(join(served, "group/app.git/objects/pack"));
        expect(packs.filter((name) => !/^pack-[0-9a-f]{40}\.(idx|pack|rev)$/.test(name))).toEqual([]);
        expect(readdirSync(join(served, "group/app.git/objects")).sort()).toEqual(["info", "pack"]);
        await workspace.in("served/group/app.git").run("fsck", "--strict");
      }
    });

    it("of some refs that are taken and some that are not makes the repository", async () => {
      const url = await start({
        handlers: { update: (_push, { name }) => (name.endsWith("/bad") ? "not this one" : undefined) },
      });
      expect((await app.try("push", url, "main", "main:bad")).stderr).toContain("(not this one)");
      expect(Object.keys(await clonedRefs("group/app", "clone"))).toEqual(["refs/heads/main"]);
    });

    it("that is refused takes nothing from one beside it that is not, whichever ends first", async () => {
      let meet: Record<string, () => Promise<void>> = {};
      const update = async (_push: Push, { name }: { name: string }): Promise<string | undefined> => {
        await meet[name]?.();
        return name.endsWith("/bad") ? "not this one" : undefined;
      };
      await start({ handlers: { update } });
      for (const first of ["good", "bad"]) {
        const waits = new Map(["good", "bad"].map((name) => [name, later<undefined>()]));
        const both = new Set<string>();
        const together = later<undefined>();
        meet = Object.fromEntries(
          ["good", "bad"].map((name) => [
            `refs/heads/${name}`,
            async () => {
              both.add(name);
              if (both.size === 2) together.resolve(undefined);
              await together.promise;
              if (name !== first) await waits.get(first)?.promise;
            },
          ]),
        );
        const [good, bad] = await Promise.all(
          ["good", "bad"].map(async (name) => {
            const ended = await app.try("push", server.urlOf(`${first}-first`), `main:${name}`);
            waits.get(name)?.resolve(undefined);
            return ended;
          }),
        );
        expect(good?.stderr).toContain("[new branch]");
        expect(bad?.stderr).toContain("(not this one)");
        expect(Object.keys(await clonedRefs(`${first}-first`, `clone-${first}`))).toEqual([
          "refs/heads/good",
        ]);
      }
      await idle();
      if (backend === "disk") expect(readdirSync(served).sort()).toEqual(["bad-first.git", "good-first.git"]);
    });

    it("of twenty branches by twenty clients makes one repository with all of them", async () => {
      const url = await start();
      const wanted: Record<string, string> = {};
      let oid = "HEAD";
      for (let i = 0; i < 20; i++) {
        oid = await app.run("commit-tree", "-p", oid, "-m", `number ${i}`, "HEAD^{tree}");
        wanted[`refs/heads/branch-${String(i).padStart(2, "0")}`] = oid;
      }
      const pushes = Object.entries(wanted).map(([name, oid]) => app.try("push", url, `${oid}:${name}`));
      for (const { status, stderr } of await Promise.all(pushes))
        expect(stderr).toMatch(status === 0 ? /./ : /^$/);
      expect(await clonedRefs("group/app", "clone")).toEqual(wanted);
      expect(await names()).toEqual(["group/app"]);
      await idle();
      if (backend === "disk") {
        expect(readdirSync(served)).toEqual(["group"]);
        await workspace.in("served/group/app.git").run("fsck", "--strict");
      }
    });

    it("is judged anew by a repository that was made meanwhile", async () => {
      let asked = 0;
      const url = await start({
        handlers: {
          async preReceive() {
            if (asked++ > 0) return undefined;
            const other = await server.server.store.create("group/app");
            await pushBlob(other, "refs/tags/one/below");
            await other.close();
            return undefined;
          },
        },
      });
      const pushed = await app.try("push", url, "main:refs/tags/one", "main");
      expect(pushed.stderr).toMatch(/main -> one \(/);
      expect(pushed.stderr).toMatch(/main -> main$/m);
      expect(asked).toBe(2);
      const refs = Object.keys(await clonedRefs("group/app", "clone"));
      expect(refs).toEqual(["refs/heads/main", "refs/tags/one/below"]);
      await idle();
      if (backend === "disk") expect(readdirSync(served)).toEqual(["group"]);
    });

    it("that is refused leaves an empty repository that somebody else had made", async () => {
      const url = await start({ handlers: { update: () => "no" } });
      await (await server.server.store.create("group/app", { defaultBranch: "trunk" })).close();
      for (let i = 0; i < 2; i++) expect((await app.try("push", url, "main")).stderr).toContain("(no)");
      await idle();
      expect(await names()).toEqual(["group/app"]);
      await workspace.run("clone", "-q", url, "clone");
      expect(await workspace.in("clone").run("symbolic-ref", "HEAD")).toBe("refs/heads/trunk");
    });
  });
}

describe("a first push that proc-receive takes", () => {
  it("makes the repository with the refs that it moved", async () => {
    const repositories = createMemoryRepositoryStore({
      settings: () => ({
        ...DEFAULT_REPOSITORY_SETTINGS,
        receive: { ...DEFAULT_REPOSITORY_SETTINGS.receive, procReceiveRefs: ["refs/for"] },
      }),
    });
    const procReceive = async (
      { repository }: Push,
      [command]: readonly PushCommand[],
    ): Promise<readonly ProcReceiveResult[]> => {
      if (command === undefined) return [];
      const { newOid } = command;
      const updates = [{ name: "refs/changes/1", oldOid: null, newOid }];
      const [moved] = await repository.refs.transact({ updates, atomic: true });
      return [{ name: command.name, ...(moved?.ok === true ? {} : { refusal: "not moved" }) }];
    };
    server = await createTestServer({ repositories, handlers: { procReceive } });
    await app.run("push", "-q", server.urlOf("app"), "main:refs/for/main");
    const oid = await app.run("rev-parse", "main");
    expect(await clonedRefs("app", "clone")).toEqual({ "refs/changes/1": oid });
  });
});

describe("a first push by a client with another hash function", () => {
  it("is given up by the client and leaves nothing; a repository of its own format takes it", async () => {
    server = await createTestServer({ repositories: served, durability: "none" });
    await workspace.run("init", "-q", "--object-format=sha256", "other");
    const other = workspace.in("other");
    await other.run("commit", "-q", "--allow-empty", "-m", "first");
    const refused = await other.try("push", server.urlOf("group/app"), "main");
    expect(refused.stderr).toMatch(
      /fatal: (the receiving end does not support this repository's hash algorithm|protocol error: unexpected capabilities\^\{\})/,
    );
    await leavesNothing();
    await workspace.run("init", "-q", "--bare", "--object-format=sha256", "served/group/app.git");
    await other.run("push", "-q", server.urlOf("group/app"), "main");
    const refs = await other.run("ls-remote", server.urlOf("group/app"));
    expect(refs).toContain(`${await other.run("rev-parse", "HEAD")}\trefs/heads/main`);
  });
});

async function pushBlob(repository: Push["repository"], name: string): Promise<void> {
  const quarantine = await repository.openQuarantine();
  const snapshot = await repository.snapshot();
  await ingestPack({
    quarantine,
    objects: snapshot.objects,
    source: (async function* () {
      yield await Promise.resolve(packOfBlobs("other"));
    })(),
    objectFormat: repository.objectFormat,
    limits: server.server.limits,
    collisionDetection: false,
    maxInputSizeBytes: Infinity,
  });
  await quarantine.publish();
  await repository.refs.transact({
    updates: [{ name, oldOid: null, newOid: blobOid("other") }],
    atomic: true,
  });
  await quarantine.discard();
  snapshot.release();
}
