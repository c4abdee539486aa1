/** What the real client asks of receive-pack beyond a plain push, over HTTP, on both backends. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { PushHandlers } from "../src/engine/push.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import { DEFAULT_REPOSITORY_SETTINGS } from "../src/storage/repository-settings-defaults.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";
import { send } from "./support/raw-http.js";

let workspace: GitClient;
let app: GitClient;
let server: TestServer;
let url: string;

async function commit(message: string): Promise<string> {
  await app.run("commit", "-q", "--allow-empty", "-m", message);
  return app.run("rev-parse", "HEAD");
}

async function start(options: Partial<GitServerOptions>): Promise<void> {
  server = await createTestServer({ durability: "none", ...options });
  url = server.urlOf("app");
  await app.run("push", "-q", url, "main");
}

async function refsOf(): Promise<Record<string, string>> {
  const lines = (await app.run("ls-remote", url)).split("\n").map((line) => line.split("\t"));
  return Object.fromEntries(lines.map(([oid = "", name = ""]) => [name, oid]));
}

function traced(...args: readonly string[]): Promise<GitResult> {
  return app.tryWith({ env: { GIT_TRACE_PACKET: "1" } }, ...args);
}

// The contract suites of storage have each backend with both hash functions; here it is about what is said.
for (const [backend, format] of [
  ["disk", "sha1"],
  ["memory", "sha256"],
] as const) {
  describe(`pushes to ${format} repositories ${backend === "disk" ? "on disk" : "in memory"}`, () => {
    const begin = (handlers?: PushHandlers): Promise<void> =>
      start({
        ...(backend === "disk" ? { repositories: join(workspace.directory, "served") } : {}),
        objectFormat: format,
        ...(handlers === undefined ? {} : { handlers }),
      });

    beforeEach(async () => {
      workspace = createWorkspace();
      await workspace.run("init", "-q", `--object-format=${format}`, "app");
      app = workspace.in("app");
      await commit("first");
    });
    afterEach(async () => {
      await server.close();
      removeDirectory(workspace);
    });

    it("move all refs or none when they are atomic", async () => {
      await begin({
        update: (_push, command) => (command.name.endsWith("/bad") ? "not this one" : undefined),
      });
      const before = await refsOf();
      await commit("second");
      const refused = await app.try("push", "--atomic", url, "main", "main:good", "main:bad");
      expect(refused.status).toBe(1);
      expect(refused.stderr).toMatch(/\[remote rejected\] main -> bad \(not this one\)/);
      expect(refused.stderr).toMatch(/\[remote rejected\] main -> good \(atomic push failure\)/);
      expect(refused.stderr).toMatch(/\[remote rejected\] main -> main \(atomic push failure\)/);
      expect(await refsOf()).toEqual(before);

      const partly = await app.try("push", url, "main", "main:good", "main:bad");
      expect(partly.status).toBe(1);
      const oid = await app.run("rev-parse", "HEAD");
      expect(await refsOf()).toEqual({ HEAD: oid, "refs/heads/main": oid, "refs/heads/good": oid });
      await app.run("push", "--atomic", url, "main:one", "main:two", ":good");
      expect(Object.keys(await refsOf()).toSorted()).toEqual([
        "HEAD",
        "refs/heads/main",
        "refs/heads/one",
        "refs/heads/two",
      ]);
    });

    it("bring push options to the handlers, where they are advertised", async () => {
      const seen: (readonly string[])[] = [];
      await start({
        repositories:
          backend === "disk"
            ? join(workspace.directory, "served")
            : createMemoryRepositoryStore({
                settings: () => ({
                  ...DEFAULT_REPOSITORY_SETTINGS,
                  receive: { ...DEFAULT_REPOSITORY_SETTINGS.receive, advertisePushOptions: true },
                }),
              }),
        objectFormat: format,
        handlers: {
          preReceive: (push) => {
            seen.push(push.options);
            return undefined;
          },
        },
      });
      if (backend === "disk")
        await workspace.in("served/app.git").run("config", "receive.advertisePushOptions", "true");
      await commit("second");
      await app.run("push", "-q", "-o", "ci.skip", "-o", "topic=a b", url, "main");
      await app.run("push", "-q", url, "main:plain");
      expect(seen).toEqual([[], ["ci.skip", "topic=a b"], []]);
    });

    it("refuse push options that are not advertised", async () => {
      await begin();
      const refused = await app.try("push", "-o", "x", url, "main:topic");
      expect(refused.stderr).toContain("the receiving end does not support push options");
      expect(Object.keys(await refsOf())).not.toContain("refs/heads/topic");
    });

    it("report what proc-receive made of a ref", async () => {
      const updated: string[] = [];
      await start({
        repositories:
          backend === "disk"
            ? join(workspace.directory, "served")
            : createMemoryRepositoryStore({
                settings: () => ({
                  ...DEFAULT_REPOSITORY_SETTINGS,
                  receive: {
                    ...DEFAULT_REPOSITORY_SETTINGS.receive,
                    procReceiveRefs: ["refs/for"],
                  },
                }),
              }),
        objectFormat: format,
        handlers: {
          update: (_push, command) => {
            updated.push(command.name);
            return undefined;
          },
          async procReceive(push, commands) {
            const { repository } = push;
            const results = [];
            for (const { name, newOid } of commands) {
              if (name.endsWith("/no")) results.push({ name, refusal: "no such review" });
              else if (name.endsWith("/plain")) results.push({ name, fallThrough: true });
              else {
                // The objects are published: a ref may name them.
                const [moved] = await repository.refs.transact({
                  updates: [{ name: "refs/pull/7/head", oldOid: null, newOid }],
                  atomic: true,
                });
                expect(moved?.ok).toBe(true);
                results.push({ name, refName: "refs/pull/7/head", newOid });
              }
            }
            return results;
          },
        },
      });
      if (backend === "disk")
        await workspace.in("served/app.git").run("config", "receive.procReceiveRefs", "refs/for");
      const old = await app.run("rev-parse", "HEAD");
      const oid = await commit("second");
      const pushed = await app.try(
        "push",
        url,
        "HEAD:refs/for/main",
        "HEAD:refs/for/no",
        "HEAD:refs/for/plain",
      );
      expect(pushed.stderr).toMatch(/\[new reference\] +HEAD -> refs\/pull\/7\/head/);
      expect(pushed.stderr).toMatch(/\[remote rejected\] +HEAD -> refs\/for\/no \(no such review\)/);
      expect(await refsOf()).toEqual({
        HEAD: old,
        "refs/heads/main": old,
        "refs/for/plain": oid,
        "refs/pull/7/head": oid,
      });
      expect(updated).toEqual(["refs/heads/main", "refs/for/plain"]);
    });

    it("are quiet when asked to be, and tell of themselves when not", async () => {
      await begin();
      await commit("second");
      expect((await app.try("push", "-q", url, "main")).stderr).toBe("");
      await commit("third");
      expect((await traced("push", url, "main")).stderr).toMatch(
        /git> .* refs\/heads\/main\\0 report-status-v2 side-band-64k quiet object-format=/,
      );
    });

    it("of one ref by twenty clients: one wins, the others are told", async () => {
      await begin();
      const old = await app.run("rev-parse", "HEAD");
      const commits = await Promise.all(
        Array.from({ length: 20 }, (_, i) =>
          app.run("commit-tree", "-p", old, "-m", `racer ${i}`, `${old}^{tree}`),
        ),
      );
      const results = await Promise.all(
        commits.map((oid) =>
          app.try("push", `--force-with-lease=main:${old}`, url, `${oid}:refs/heads/main`),
        ),
      );
      const winners = results.filter((result) => result.status === 0);
      expect(winners).toHaveLength(1);
      for (const result of results) {
        if (result.status !== 0) {
          expect(result.stderr).toMatch(
            /\[remote rejected\] .* \((?:incorrect old value provided; fetch first|another update .*)\)|\[rejected\] .* \(stale info\)/,
          );
        }
      }
      expect((await refsOf())["refs/heads/main"]).toBe(commits[results.findIndex((r) => r.status === 0)]);
    });

    it("of twenty refs by twenty clients: all win", async () => {
      await begin();
      const results = await Promise.all(
        Array.from({ length: 20 }, (_, i) => app.try("push", "-q", url, `main:topic/${i}`)),
      );
      expect(results.map((result) => result.stderr)).toEqual(results.map(() => ""));
      expect(Object.keys(await refsOf())).toHaveLength(22);
    });

    it("delete alone, and what is not there", async () => {
      await begin();
      await app.run("push", "-q", url, "main:topic");
      await app.run("push", "-q", url, ":topic");
      const again = await app.try("push", url, ":refs/heads/topic");
      expect(again.stderr).toContain("remote: warning: deleting a non-existent ref: refs/heads/topic");
      expect(again.status).toBe(0);
      expect(Object.keys(await refsOf())).toEqual(["HEAD", "refs/heads/main"]);
    });

    it("may be refused by a handler that fails: the operator reads why, the pusher that", async () => {
      const log: string[] = [];
      await start({
        ...(backend === "disk" ? { repositories: join(workspace.directory, "served") } : {}),
        objectFormat: format,
        log: (entry) => void log.push(`${entry.level} ${entry.message} ${String(entry.error)}`),
        handlers: {
          update: (_push, command) => {
            if (command.name.endsWith("/broken")) throw new Error("secret words");
            return undefined;
          },
        },
      });
      const refused = await app.try("push", url, "main:broken", "main:fine");
      expect(refused.stderr).toMatch(
        /\[remote rejected\] main -> broken \(hook declined \(request [0-9a-f-]{36}\)\)/,
      );
      expect(refused.stderr).not.toContain("secret");
      expect(Object.keys(await refsOf())).toContain("refs/heads/fine");
      expect(log.filter((line) => line.includes("secret words"))).toEqual([
        "error the update handler failed in a push to app Error: secret words",
      ]);
    });
  });
}

describe("pushes beside other repositories and shallow ones", () => {
  beforeEach(async () => {
    workspace = createWorkspace();
    await workspace.run("init", "-q", "app");
    app = workspace.in("app");
    for (const message of ["one", "two", "three"]) await commit(message);
    await start({ repositories: join(workspace.directory, "served") });
  });
  afterEach(async () => {
    await server.close();
    removeDirectory(workspace);
  });

  it("are told of the tips of alternates, and send nothing that these have", async () => {
    const served = workspace.in("served");
    await served.run("clone", "-q", "--bare", "-s", "app.git", "fork.git");
    await served.in("fork.git").run("update-ref", "-d", "refs/heads/main");
    expect(existsSync(join(served.directory, "fork.git/objects/info/alternates"))).toBe(true);
    const pushed = await traced("push", server.urlOf("fork"), "main");
    expect(pushed.status, pushed.stderr).toBe(0);
    expect(pushed.stderr).toMatch(/git< [0-9a-f]{40} \.have/);
    expect(await served.in("fork.git").run("count-objects", "-v")).toMatch(/^count: 0$[^]*^in-pack: 0$/m);
    await served.in("fork.git").run("fsck", "--strict");
  });

  it("are told of the tips of the alternates that are named now", async () => {
    const served = workspace.in("served");
    const tips: Record<string, string> = {};
    for (const name of ["first", "second"]) {
      tips[name] = await commit(`of the ${name}`);
      await app.run("push", "-q", server.urlOf(name), "main");
    }
    await served.run("init", "-q", "--bare", "fork.git");
    const file = join(served.directory, "fork.git/objects/info/alternates");
    const told = async (): Promise<readonly string[]> => {
      const { body } = await send(`${server.urlOf("fork")}/info/refs?service=git-receive-pack`);
      return [...body.toString().matchAll(/([0-9a-f]{40}) \.have/g)].map((match) => match[1] as string);
    };
    for (const name of ["first", "second", "first"]) {
      writeFileSync(file, `../../${name}.git/objects\n`);
      expect(await told()).toEqual([tips[name]]);
    }
    writeFileSync(file, "../../first.git/objects\n../../second.git/objects\n");
    expect((await told()).toSorted()).toEqual(Object.values(tips).toSorted());
  });

  it("from a shallow clone are taken when what they build on is there", async () => {
    await workspace.run("clone", "-q", "--depth", "1", url, "shallow");
    const shallow = workspace.in("shallow");
    await shallow.run("commit", "-q", "--allow-empty", "-m", "four");
    await shallow.run("push", "-q", "origin", "main");
    expect((await refsOf())["refs/heads/main"]).toBe(await shallow.run("rev-parse", "HEAD"));
    await workspace.in("served/app.git").run("fsck", "--strict");
  });

  it("of a cut history are refused, and taken with receive.shallowUpdate", async () => {
    await workspace.run("clone", "-q", "--depth", "1", url, "shallow");
    const shallow = workspace.in("shallow");
    const empty = server.urlOf("empty");
    await workspace.run("init", "-q", "--bare", "served/empty.git");
    const refused = await shallow.try("push", empty, "main");
    expect(refused.stderr).toMatch(/\[remote rejected\] main -> main \(shallow update not allowed\)/);
    expect(await shallow.run("ls-remote", empty)).toBe("");
    expect(existsSync(join(workspace.directory, "served/empty.git/shallow"))).toBe(false);
    await workspace.in("served/empty.git").run("config", "receive.shallowUpdate", "true");
    await shallow.run("push", "-q", empty, "main");
    const tip = await shallow.run("rev-parse", "HEAD");
    expect(readFileSync(join(workspace.directory, "served/empty.git/shallow"), "utf8")).toBe(`${tip}\n`);
    await workspace.in("served/empty.git").run("fsck", "--strict");
    await workspace.run("clone", "-q", empty, "copy");
    expect(await workspace.in("copy").run("rev-list", "HEAD")).toBe(tip);
  });

  it("meet directories where they want files, and symbolic refs", async () => {
    const blocked = await app.try("push", url, "main:refs/heads/main/below");
    expect(blocked.stderr).toMatch(/\[remote rejected\] main -> main\/below \(.*refs\/heads\/main.*\)/);
    const served = workspace.in("served/app.git");
    await served.run("symbolic-ref", "refs/heads/alias", "refs/heads/main");
    const oid = await commit("four");
    await app.run("push", "-q", url, "main:alias");
    expect(await served.run("rev-parse", "refs/heads/main")).toBe(oid);
    expect(await served.run("symbolic-ref", "refs/heads/alias")).toBe("refs/heads/main");
  });
});
