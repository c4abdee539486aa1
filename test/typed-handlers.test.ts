/** Handlers in TypeScript: what a push tells them and what they may do to it, with the real client over HTTP, SSH
 * and git://. How they end without being waited for is in handler-endings.test.ts.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { PathChange, Push, PushedRef, PushHandlers } from "../src/index.js";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";
import { listenEverywhere, OPEN_EVERYWHERE, type Transports, TRANSPORTS } from "./support/transports.js";

let workspace: GitClient;
let app: GitClient;
let server: GitServer;
/** On a disk, where repositories can be told to take any object. */
let lax: GitServer;
let laxHttp: string;
let http: string;
let over: Transports;
/** What the server's handlers do in this test. */
let handlers: PushHandlers = {};
const logged: string[] = [];

beforeAll(async () => {
  workspace = createWorkspace();
  const forward: PushHandlers = {
    get timeoutMs() {
      return handlers.timeoutMs ?? 2000;
    },
    procReceiveRefs: ["refs/for"],
    preReceive: (push) => handlers.preReceive?.(push),
    update: (push, update) => handlers.update?.(push, update),
    procReceive: (push, updates) => handlers.procReceive?.(push, updates) ?? [],
    referenceTransaction: (push, state, updates) =>
      handlers.referenceTransaction?.(push, state, updates) ?? true,
    postReceive: (push, updates) => handlers.postReceive?.(push, updates),
  };
  lax = createGitServer({
    repositories: `${workspace.directory}/served`,
    durability: "none",
    handlers: forward,
    log: () => undefined,
  });
  laxHttp = (await lax.listen({ http: 0 })).http.url;
  server = createGitServer({
    repositories: createMemoryRepositoryStore(),
    autoCreate: "push",
    handlers: forward,
    log: ({ level, error }) => void (level === "error" && logged.push(String(error))),
    ...OPEN_EVERYWHERE,
  });
  over = await listenEverywhere(server, workspace.directory);
  http = new URL(over.urlOf("http", "app")).origin;
});
afterAll(async () => {
  await server.close({ graceMs: 0 });
  await lax.close({ graceMs: 0 });
  removeDirectory(workspace);
});

let count = 0;
let name: string;
let base: string;
beforeEach(async () => {
  handlers = {};
  base = http;
  name = `app${count++}`;
  await workspace.run("init", "-q", name);
  app = workspace.in(name);
  await commit("first", { "README.md": "hello\n", "src/main.ts": "1\n" });
});
afterEach(() => void (logged.length = 0));

async function commit(message: string, files: Record<string, string>): Promise<string> {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(`${app.directory}/${path}`.replace(/\/[^/]*$/, ""), { recursive: true });
    writeFileSync(`${app.directory}/${path}`, text);
  }
  await app.run("add", "-A");
  await app.run("commit", "-q", "--allow-empty", "-m", message);
  return app.run("rev-parse", "HEAD");
}

const push = (...args: readonly string[]): Promise<GitResult> =>
  app.try("push", `${base}/${name}.git`, ...args);
const refs = (): Promise<string> => app.run("ls-remote", `${http}/${name}.git`);

async function pushToLax(): Promise<void> {
  await workspace.run("init", "-q", "--bare", `served/${name}.git`);
  await workspace.in(`served/${name}.git`).run("config", "receive.fsckObjects", "false");
  base = laxHttp;
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

/** Runs a handler's body in pre-receive; what it throws fails the test. */
async function inside<T>(body: (push: Push) => Promise<T>, ...refspecs: readonly string[]): Promise<T> {
  let outcome: Promise<T> | undefined;
  handlers = {
    preReceive: async (given) => {
      outcome = body(given);
      await outcome;
      return undefined;
    },
  };
  await push(...refspecs);
  if (outcome === undefined) throw new Error("the handler was not called");
  return outcome;
}

const only = ({ updates }: Push): PushedRef => {
  const [update, ...others] = updates;
  if (update === undefined || others.length > 0) throw new Error(`${updates.length} refs`);
  return update;
};

const shown = (changes: readonly PathChange[]): string =>
  changes
    .map(({ path, change }) => `${change} ${path}`)
    .toSorted()
    .join("\n");

describe("a push", () => {
  it.each(TRANSPORTS)("tells who, where from and what over %s", async (transport) => {
    let told: unknown;
    handlers = {
      preReceive(given) {
        const { repository, identity, address, options, requestId } = given;
        told = [given.transport, repository.name, identity.user, address, options, requestId?.length];
        return undefined;
      },
    };
    const { status, stderr } = await app.tryWith(
      { env: over.env },
      "push",
      over.urlOf(transport, name),
      "main",
    );
    expect(status, stderr).toBe(0);
    expect(told).toEqual([transport, name, undefined, "127.0.0.1", [], 36]);
  });

  it("tells of every ref its kind, its name and what becomes of it", async () => {
    await app.run("tag", "v1");
    const describeRefs = async (given: Push): Promise<string[]> =>
      Promise.all(
        given.updates.map(async (ref) =>
          [
            ref.kind,
            ref.shortName,
            ref.created ? "created" : ref.deleted ? "deleted" : "changed",
            (await ref.forced()) ? "forced" : "",
          ].join(" "),
        ),
      );
    expect(
      (await inside(describeRefs, "main", "main:feature/x", "v1", "main:refs/notes/a")).toSorted(),
    ).toEqual([
      "branch feature/x created ",
      "branch main created ",
      "other notes/a created ",
      "tag v1 created ",
    ]);
    await commit("second", {});
    await app.run("checkout", "-q", "--orphan", "unrelated");
    await app.run("commit", "-q", "-m", "unrelated");
    const later = await inside(describeRefs, "main", "+unrelated:feature/x", ":v1");
    expect(later.toSorted()).toEqual([
      "branch feature/x changed forced",
      "branch main changed ",
      "tag v1 deleted ",
    ]);
  });

  it("gives the commits with their messages, newest first", async () => {
    const subjects = async (given: Push): Promise<string[]> =>
      (await all(only(given).commits())).map(({ subject }) => subject);
    expect(await inside(subjects, "main")).toEqual(["first"]);
    await commit("second\nline\n\nbody with ü\n", {});
    await commit("third", {});
    const second = await inside(async (given) => {
      const commits = await all(only(given).commits());
      expect(commits.map(({ subject }) => subject)).toEqual(["third", "second line"]);
      return commits[1];
    }, "main");
    expect(second).toMatchObject({
      message: "second\nline\n\nbody with ü\n",
      author: { name: "Ada", email: "ada@example.org", date: new Date(1_700_000_000_000) },
    });
    // A new branch brings only what no other ref leads to; one with nothing of its own brings nothing.
    expect(await inside(subjects, "main:again")).toEqual([]);
    await commit("fourth", {});
    expect(await inside(subjects, "main:topic")).toEqual(["fourth"]);
    expect(await inside((given) => all(only(given).commits({ max: 0 })), "main:other")).toEqual([]);
    await commit("fifth", {});
    await commit("sixth", {});
    const tooMany = inside((given) => all(only(given).commits({ max: 1 })), "main:more");
    await expect(tooMany).rejects.toThrow("refs/heads/more brings more than 1 commits");
  });

  it("gives the changed paths of a ref and of a commit", async () => {
    const changes = async (given: Push): Promise<string> => shown(await all(only(given).changedPaths()));
    expect(await inside(changes, "main")).toBe("added README.md\nadded src/main.ts");
    await app.run("rm", "-q", "README.md");
    await commit("second", { "src/main.ts": "2\n", "docs/a b.md": "" });
    expect(await inside(changes, "main:topic")).toBe(
      "added docs/a b.md\ndeleted README.md\nmodified src/main.ts",
    );
    await commit("third", { "src/main.ts": "3\n" });
    const both = await inside(async (given) => {
      const [newest] = await all(only(given).commits());
      return [shown(await all(newest?.changedPaths() ?? given.updates[0]?.changedPaths() ?? none()))];
    }, "main");
    expect(both).toEqual(["modified src/main.ts"]);
    expect(await inside(changes, "main:same-as-main")).toBe("");
  });

  it("reads pushed files, in one piece and in many", async () => {
    const large = "0123456789abcdef".repeat(10_000);
    await commit("second", { "large.txt": large, "bin/run": "#!/bin/sh\n" });
    await app.run("update-index", "--chmod=+x", "bin/run");
    await app.run("commit", "-q", "-m", "mode");
    await inside(async (given) => {
      const file = await given.file("large.txt");
      expect(file).toMatchObject({ path: "large.txt", kind: "file", sizeBytes: 160_000 });
      expect(await file?.text()).toBe(large);
      await expect(file?.text({ maxBytes: 10 })).rejects.toThrow("large.txt has more than 10 bytes");
      const pieces = await all(file?.stream() ?? none());
      expect(pieces.length).toBe(3);
      expect(Buffer.concat(pieces).toString()).toBe(large);
      expect(await given.file("src")).toBeUndefined();
      expect(await given.file("none/of/it")).toBeUndefined();
      const listed = (await only(given).list())?.map(({ kind, path }) => `${kind} ${path}`);
      expect(listed).toEqual(["file README.md", "directory bin", "file large.txt", "directory src"]);
      expect((await only(given).list("bin"))?.[0]).toMatchObject({ kind: "executable", path: "bin/run" });
      expect(await only(given).list("large.txt")).toBeUndefined();
    }, "main");
  });
});

describe("a handler", () => {
  it("refuses the push, or one ref of it", async () => {
    handlers = { preReceive: (given) => given.reject("closed\nfor today") };
    expect((await push("main")).stderr).toContain("! [remote rejected] main -> main (closed for today)");
    handlers = {
      preReceive: ({ updates }) => updates.find(({ shortName }) => shortName === "b")?.reject("no b"),
    };
    const { stderr, status } = await push("main:a", "main:b");
    expect([status, stderr]).toEqual([1, expect.stringContaining("main -> b (no b)")]);
    expect(await refs()).toMatch(/^\w+\trefs\/heads\/a$/);
    expect((await push("--atomic", "main:b", "main:c")).stderr).toContain("main -> c (atomic push failure)");
    handlers = {
      referenceTransaction: (_, state, updates) => {
        if (state === "prepared") updates[0]?.reject("not now");
        return true;
      },
    };
    expect((await push("main:d")).stderr).toContain("main -> d (not now)");
    expect(await refs()).toMatch(/^\w+\trefs\/heads\/a$/);
  });

  it("cannot refuse what has happened", async () => {
    handlers = { postReceive: (given) => given.reject("late") };
    const { status, stderr } = await push("main");
    expect([status, logged]).toEqual([0, ["Error: the refs have moved: it is too late to reject the push"]]);
    expect(stderr).toContain("remote: warning: the post-receive handler failed");
  });

  it("that takes too long refuses, and its signal fires", async () => {
    let signal: AbortSignal | undefined;
    handlers = {
      preReceive: async (given) => {
        ({ signal } = given);
        await once(given.signal, "abort");
        // Too late to be heard.
        given.reject("nobody reads this");
        await given.print("nor this");
        return undefined;
      },
    };
    const { stderr } = await push("main");
    expect(stderr).toContain("(the preReceive handler took longer than 2 seconds)");
    expect([signal?.aborted, stderr.includes("nor this")]).toEqual([true, false]);
    expect(logged[0]).toContain("the preReceive handler took longer than 2 seconds");
  });

  it.each(TRANSPORTS)("prints over %s, without git's prefix where a terminal is", async (transport) => {
    handlers = {
      preReceive: async (given) => {
        await given.print("plain\n");
        await given.print("-----> one\n-----> t\x1bwo", { prefix: false });
        await given.print(given.isTerminal ? " (terminal)\n" : " (file)\n", { prefix: false });
        await given.print("\x1b[31mred\x1b[0m\x1b[2J\n", { colours: true });
        await given.print("\x1b[31mnot\n");
        return undefined;
      },
    };
    const url = over.urlOf(transport, name);
    const env = { ...over.env, TERM: "xterm" };
    const file = (await app.tryWith({ env }, "push", url, "main")).stderr;
    expect(file).toMatch(/^remote: plain *$/m);
    expect(file).toMatch(/^remote: -----> one *\nremote: -----> t\?wo \(file\) *$/m);
    expect(file).toMatch(/^remote: red\?\[2J *\nremote: \?\[31mnot *$/m);
    const terminal = (await app.tryWith({ env }, "push", "--progress", url, "main:b")).stderr;
    expect(terminal).toMatch(/^remote: plain *$/m);
    expect(terminal).toMatch(/^remote: \x1b\[31mred\x1b\[0m\?\[2J *\nremote: \?\[31mnot *$/m);
    expect(terminal).toMatch(
      /^remote: \x1b\[1G\x1b\[K-----> one *\nremote: \x1b\[1G\x1b\[K-----> t\?wo \(terminal\) *$/m,
    );
  });
});

describe("a pusher who does not read", () => {
  it.each(TRANSPORTS)("slows the handler over %s, and gets all of it in the end", async (transport) => {
    const texts = 192;
    let printed = 0;
    let begun: () => void = () => undefined;
    const first = new Promise<void>((resolve) => (begun = resolve));
    let goOn: () => void = () => undefined;
    const stopped = new Promise<void>((resolve) => (goOn = resolve));
    handlers = {
      timeoutMs: 60_000,
      preReceive: async (given) => {
        begun();
        await stopped;
        const line = `${"x".repeat(1023)}\n`.repeat(512);
        for (; printed < texts; printed++) await given.print(line);
      },
    };
    const client = spawn("git", ["push", over.urlOf(transport, name), "main"], {
      cwd: app.directory,
      env: { PATH: process.env["PATH"], HOME: "/nonexistent", ...over.env },
      stdio: ["ignore", "ignore", "pipe"],
      detached: true,
    });
    const exited = once(client, "exit");
    let bytes = 0;
    client.stderr.on("data", (chunk: Buffer) => (bytes += chunk.length));
    await first;
    process.kill(-(client.pid ?? 0), "SIGSTOP");
    goOn();
    // Until the handler stands still: buffers on the way take a few megabytes.
    for (let seen = -1, still = 0, looks = 0; still < 20 && looks < 4000; looks++) {
      await new Promise((resolve) => setTimeout(resolve, 25));
      still = seen === printed ? still + 1 : 0;
      seen = printed;
    }
    expect(printed).toBeLessThan(texts);
    process.kill(-(client.pid ?? 0), "SIGCONT");
    expect((await exited)[0]).toBe(0);
    expect(printed).toBe(texts);
    expect(bytes).toBeGreaterThan(texts * 512 * 1024);
  });
});

describe("procReceive", () => {
  it("moves another ref for a review, and git is told which", async () => {
    let after: readonly unknown[] = [];
    handlers = {
      procReceive: (_, updates) =>
        Promise.all(
          updates.map((update) =>
            update.redirect(`refs/changes/${update.shortName.slice("for/".length)}/1`, { force: true }),
          ),
        ),
      postReceive: (_, updates) =>
        void (after = updates.map(({ name: ref, pushedAs, kind }) => ({ ref, pushedAs, kind }))),
    };
    const first = await push("main:refs/for/main");
    expect(first.stderr).toMatch(/\* \[new reference\] +main -> refs\/changes\/main\/1/);
    expect(after).toEqual([{ ref: "refs/changes/main/1", pushedAs: "refs/for/main", kind: "other" }]);
    await app.run("commit", "-q", "--amend", "-m", "first, again");
    const again = await push("main:refs/for/main");
    expect(again.stderr).toMatch(/\+ \w+\.\.\.\w+ main -> refs\/changes\/main\/1 \(forced update\)/);
    expect(await refs()).toBe(`${await app.run("rev-parse", "HEAD")}\trefs/changes/main/1`);
  });

  it.each([
    ["no list", 7],
    ["no results", [null]],
    ["results without a name", [{}]],
  ])("that answers with %s refuses", async (_what, answer) => {
    handlers = { procReceive: () => answer as never };
    const { status, stderr } = await push("main:refs/for/main", "main");
    expect([status, stderr]).toEqual([
      1,
      expect.stringContaining("(fail to run proc-receive hook (request "),
    ]);
    expect(logged).toEqual(["TypeError: procReceive has to answer with a list of results"]);
    expect(await refs()).toMatch(/^\w+\tHEAD\n\w+\trefs\/heads\/main$/);
  });

  it("redirects nowhere that a ref cannot be, and leaves nothing behind unless it is forced", async () => {
    let target = "refs/heads/main";
    handlers = {
      procReceive: (_, updates) => Promise.all(updates.map((update) => update.redirect(target))),
    };
    expect((await push("main:refs/for/main")).status).toBe(0);
    await app.run("commit", "-q", "--amend", "-m", "other");
    expect((await push("main:refs/for/main")).stderr).toContain("(non-fast-forward)");
    target = "refs/heads/../x";
    expect((await push("main:refs/for/main")).stderr).toContain("(funny refname)");
  });
});

describe("checkout", () => {
  it("writes the pushed files, or some of them", async () => {
    await commit("second", { "docs/a.md": "a", "docs/b.png": "b", "bin/run": "#!/bin/sh\n" });
    await app.run("update-index", "--chmod=+x", "bin/run");
    await app.run("commit", "-q", "-m", "mode");
    const whole = `${workspace.directory}/whole-${name}`;
    const part = `${workspace.directory}/part-${name}/deep`;
    await inside(async (given) => {
      expect(await given.checkout(whole)).toEqual({ files: 5, sizeBytes: 20, skipped: [] });
      expect((await given.checkout(part, { paths: ["docs/*.md"] })).files).toBe(1);
      await expect(given.checkout(whole)).rejects.toThrow(/would overwrite what stands there/);
    }, "main");
    const found = (at: string): string[] => readdirSync(at, { recursive: true }).map(String).toSorted();
    expect(found(whole)).toEqual([
      "README.md",
      "bin",
      "bin/run",
      "docs",
      "docs/a.md",
      "docs/b.png",
      "src",
      "src/main.ts",
    ]);
    expect(found(part)).toEqual(["docs", "docs/a.md"]);
    expect(readFileSync(`${whole}/README.md`, "utf8")).toBe("hello\n");
    expect([
      lstatSync(`${whole}/bin/run`).mode & 0o111,
      lstatSync(`${whole}/README.md`).mode & 0o111,
    ]).toEqual([0o111, 0]);
  });

  it("never writes outside of its directory", async () => {
    const secret = `${workspace.directory}/secret-${name}`;
    const to = `${workspace.directory}/links-${name}`;
    const link = (path: string, target: string): void => symlinkSync(target, `${app.directory}/${path}`);
    link("absolute", "/etc/passwd");
    link("up", "../out");
    link("src/root", "../README.md");
    link("src/sneaky", "root/../../..");
    link("src/deep", "../../x");
    link("here", "src");
    await commit("links", {});
    const tree = async (lines: string): Promise<string> =>
      (await app.tryWith({ input: lines }, "mktree", "--missing")).stdout.trim();
    // A file and a link of one name, so that a second entry would be written through the first.
    const blob = await app.run("rev-parse", "HEAD:README.md");
    const target = (await app.tryWith({ input: "elsewhere" }, "hash-object", "-w", "--stdin")).stdout.trim();
    mkdirSync(secret);
    const { skipped, files } = await inside((given) => given.checkout(to), "main");
    expect([...skipped].toSorted()).toEqual(["absolute", "src/deep", "src/sneaky", "up"]);
    expect(files).toBe(4);
    expect(lstatSync(`${to}/here`).isSymbolicLink()).toBe(true);
    expect(readFileSync(`${to}/src/root`, "utf8")).toBe("hello\n");
    // What stands in the directory before is not written through either.
    const trap = `${workspace.directory}/trap-${name}`;
    mkdirSync(trap);
    symlinkSync(secret, `${trap}/src`);
    await expect(inside((given) => given.checkout(trap), "main:b")).rejects.toThrow(/overwrite/);
    expect(readdirSync(secret)).toEqual([]);
    const inner = await tree(`100644 blob ${blob}\tpwned\n`);
    const twice = await tree(`120000 blob ${target}\ta\n040000 tree ${inner}\ta\n`);
    const made = await app.run("commit-tree", "-m", "twice", twice);
    await pushToLax();
    const outcome = inside((given) => given.checkout(`${to}-2`), `${made}:refs/heads/twice`);
    await expect(outcome).rejects.toThrow(/would overwrite what stands there/);
    expect(readdirSync(secret)).toEqual([]);
  });

  it("refuses .git under any name, and ends at its limits", async () => {
    const to = `${workspace.directory}/git-${name}`;
    const blob = await app.run("rev-parse", "HEAD:README.md");
    await pushToLax();
    for (const [i, entry] of [".GIT", "git~1", ".g\u200cit", ".git "].entries()) {
      const made = await app.tryWith({ input: `100644 blob ${blob}\t${entry}\0` }, "mktree", "-z");
      const oid = await app.run("commit-tree", "-m", "git", made.stdout.trim());
      await expect(inside((given) => given.checkout(`${to}${i}`), `${oid}:refs/heads/x${i}`)).rejects.toThrow(
        /entry is called/,
      );
    }
    await expect(inside((given) => given.checkout(to, { entriesMax: 2 }), "main:a")).rejects.toThrow(
      /more than 2 entries/,
    );
    await expect(inside((given) => given.checkout(`${to}-b`, { bytesMax: 7 }), "main:c")).rejects.toThrow(
      /more than 7 bytes/,
    );
  });

  it("holds no file in memory that is larger than the server's limit, and neither does stream", async () => {
    const limit = "'big.bin' has more than 1000 bytes, the server's limit (objectSizeBytesMax)";
    const strict = createGitServer({
      repositories: `${workspace.directory}/served`,
      durability: "none",
      limits: { objectSizeBytesMax: 1000 },
      handlers: { preReceive: (given) => handlers.preReceive?.(given) },
      log: () => undefined,
    });
    try {
      await pushToLax();
      await commit("large", { "big.bin": "0".repeat(1001), "fits.bin": "0".repeat(1000) });
      expect((await push("main")).status).toBe(0);
      await commit("small", { "README.md": "again\n" });
      base = (await strict.listen({ http: 0 })).http.url;
      const to = `${workspace.directory}/limit-${name}`;
      await inside(async (given) => {
        await expect(given.checkout(to)).rejects.toThrow(limit);
        expect((await given.checkout(`${to}-2`, { paths: ["fits.bin"] })).files).toBe(1);
        await expect(all((await given.file("big.bin"))?.stream() ?? none())).rejects.toThrow(limit);
        expect(await all((await given.file("fits.bin"))?.stream() ?? none())).toHaveLength(1);
      }, "main");
    } finally {
      await strict.close({ graceMs: 0 });
    }
  });

  it("has submodules left out", async () => {
    const oid = await app.run("rev-parse", "HEAD");
    await app.run("update-index", "--add", "--cacheinfo", `160000,${oid},vendor/lib`);
    await app.run("commit", "-q", "-m", "submodule");
    const to = `${workspace.directory}/submodule-${name}`;
    expect(await inside((given) => given.checkout(to), "main")).toMatchObject({ skipped: ["vendor/lib"] });
    expect(existsSync(`${to}/vendor`)).toBe(false);
  });
});

describe("archive", () => {
  it("is what git archive writes", async () => {
    const oid = await app.run("rev-parse", "HEAD");
    const bytes = await inside(
      async (given) => Buffer.concat(await all(given.archive({ prefix: "app/" }))),
      "main",
    );
    writeFileSync(`${app.directory}/ours.tar`, bytes);
    await app.run("archive", "--prefix=app/", "-o", "theirs.tar", oid);
    expect(bytes.equals(readFileSync(`${app.directory}/theirs.tar`))).toBe(true);
  });
});

async function* none(): AsyncGenerator<never> {
  // Nothing.
}
