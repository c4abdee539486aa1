/** Builds as jobs: who waits for whom, who leaves, what is cancelled, what goes on. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Push, PushedRef, PushHandlers } from "../src/engine/push.js";
import { createGitServer } from "../src/server/git-server.js";
import { createDeployStage, type DeployStage, said, until } from "./support/deploy-stage.js";
import type { GitResult } from "./support/git-client.js";

let stage: DeployStage;
beforeEach(async () => {
  stage = await createDeployStage();
});
afterEach(() => stage.close());

describe("builds as jobs", () => {
  /** Waits, at most for a while, until a file is there. */
  const WAIT = "i=0; while [ ! -e ../../../../../go ] && [ $i -lt 600 ]; do i=$((i+1)); sleep 0.05; done";
  const go = (): void => writeFileSync(join(stage.workspace.directory, "go"), "");

  /** By another server, which goes at once. */
  const pushBy = async (
    handlers: PushHandlers | readonly PushHandlers[],
    ...args: readonly string[]
  ): Promise<GitResult> => {
    const repositories = join(stage.workspace.directory, "served");
    const server = createGitServer({ repositories, autoCreate: "push", handlers, log: () => undefined });
    const { url } = stage;
    try {
      stage.url = `${(await server.listen({ http: 0 })).http.url}/shop.git`;
      return await stage.push(...args);
    } finally {
      stage.url = url;
      await server.close({ graceMs: 0 });
    }
  };
  /** Of a server that dies between the ref and the release. */
  const unreleased = (): PushHandlers => ({ ...stage.deploy.handlers, postReceive: () => undefined });
  /** @returns what it prints */
  const releaseLate = async (
    commit: string,
    onPrint: (text: string) => Promise<void> = async () => undefined,
  ): Promise<string> => {
    let text = "";
    const push = {
      repository: { name: "shop" },
      async print(more: string) {
        text += more;
        await onPrint(more);
      },
      signal: new AbortController().signal,
    } as unknown as Push;
    const update = {
      kind: "branch",
      shortName: "main",
      newOid: commit,
      deleted: false,
    } as unknown as PushedRef;
    await stage.deploy.handlers.postReceive?.(push, [update]);
    return text;
  };

  it("go on when the pusher leaves, and are found again by who pushes the same", async () => {
    await stage.start();
    const oid = await stage.commit({ "gitwharf.yml": `build: 'echo begun; ${WAIT}; echo over'\n` });
    const client = spawn("git", ["push", stage.url, "main"], {
      cwd: stage.app.directory,
      stdio: "ignore",
      detached: true,
    });
    await until(async () => (await stage.builds())[0]?.status === "running");
    process.kill(-(client.pid ?? 0), "SIGKILL");
    await until(() => stage.server.active === 0);
    expect(await stage.builds()).toMatchObject([{ status: "running", commit: oid }]);
    const again = stage.push();
    go();
    const result = await again;
    expect(result.status).toBe(0);
    expect(said(result)).toContain("already: this is what it prints\n");
    expect(said(result)).toMatch(/ {7}begun\n {7}over\n/);
    expect(await stage.builds()).toHaveLength(1);
    expect(await stage.releases()).toMatchObject([{ number: 1, commit: oid }]);
  });

  it("are done one after the other, and the second pusher is told", async () => {
    await stage.start();
    await stage.commit({ "gitwharf.yml": `build: '${WAIT}'\n` });
    const first = stage.push();
    await until(async () => (await stage.builds())[0]?.status === "running");
    await stage.workspace.run("clone", "-q", "app", "other");
    const other = stage.workspace.in("other");
    await other.run("commit", "-q", "--allow-empty", "-m", "another");
    const second = other.try("push", stage.url, "main");
    await until(async () => (await stage.builds()).length === 2);
    expect((await stage.builds()).map(({ status }) => status)).toEqual(["queued", "running"]);
    go();
    expect((await first).status).toBe(0);
    expect(said(await second)).toContain(" !     Another push to shop is being built");
    expect((await stage.builds()).map(({ status }) => status)).toEqual(["succeeded", "succeeded"]);
  });

  it("that have not begun end with the pusher who leaves; those before and after do not", async () => {
    await stage.start();
    await stage.commit({ "gitwharf.yml": `build: '${WAIT}'\n` });
    const first = stage.push();
    await until(async () => (await stage.builds())[0]?.status === "running");
    await stage.commit({ x: "of the second" });
    const leaving = spawn("git", ["push", stage.url, "main"], {
      cwd: stage.app.directory,
      stdio: "ignore",
      detached: true,
    });
    await until(async () => (await stage.builds()).length === 2);
    const third = await stage.commit({ x: "of the third" });
    process.kill(-(leaving.pid ?? 0), "SIGKILL");
    await until(async () => (await stage.builds())[0]?.status === "cancelled");
    expect((await stage.builds())[0]?.reason).toBe("the pusher left before it began");
    go();
    expect((await first).status).toBe(0);
    expect((await stage.push()).status).toBe(0);
    expect(await stage.releases()).toMatchObject([{ number: 2, commit: third }, { number: 1 }]);
  });

  it("that have not begun are done for who wants the same when the first who wanted it leaves", async () => {
    await stage.start();
    await stage.commit({ "gitwharf.yml": `build: '${WAIT}'\n` });
    const first = stage.push();
    await until(async () => (await stage.builds())[0]?.status === "running");
    const second = await stage.commit({ x: "of the second" });
    const leaving = spawn("git", ["push", stage.url, "main"], {
      cwd: stage.app.directory,
      stdio: "ignore",
      detached: true,
    });
    await until(async () => (await stage.builds()).length === 2);
    const staying = spawn("git", ["push", stage.url, "main"], {
      cwd: stage.app.directory,
      stdio: ["ignore", "ignore", "pipe"],
    });
    let seen = "";
    staying.stderr.on("data", (chunk: Buffer) => (seen += chunk.toString()));
    const ended = once(staying, "close");
    await until(() => seen.includes("1 before it."));
    process.kill(-(leaving.pid ?? 0), "SIGKILL");
    await until(async () => (await stage.builds()).length === 3);
    go();
    expect((await first).status).toBe(0);
    await ended;
    // The branch has moved while it waited: it is refused for that, and for nothing else.
    expect(seen).not.toContain("build cancelled");
    expect(await stage.builds()).toMatchObject([
      { commit: second, status: "succeeded" },
      { commit: second, status: "cancelled" },
      { status: "succeeded" },
    ]);
  });

  it("of accepted pushes are left out when something later was pushed, or was released", async () => {
    await stage.start({ onBuildFailure: "accept" });
    await stage.commit({ "gitwharf.yml": `build: '${WAIT}'\n` });
    const first = stage.push();
    await until(async () => (await stage.builds())[0]?.status === "running");
    await stage.commit({ x: "of the second" });
    const second = stage.push();
    await until(async () => (await stage.builds()).length === 2);
    const third = await stage.commit({ x: "of the third" });
    const last = stage.push();
    expect(said(await second)).toContain(` !     Not built: ${third.slice(0, 7)} was pushed after it.\n`);
    go();
    expect([(await first).status, (await last).status]).toEqual([0, 0]);
    expect(await stage.releases()).toMatchObject([{ number: 2, commit: third }, { number: 1 }]);
    expect((await stage.builds())[1]).toMatchObject({ status: "superseded" });
    await until(() => readdirSync(join(stage.deploy.state.directories.root, "builds")).length === 0);
  });

  it("are not released when what was built after them has been", async () => {
    await stage.start();
    const [older, newer] = [
      await stage.commit({ "index.html": "x" }),
      await stage.commit({ "index.html": "y" }),
    ];
    // Built and pushed, and whoever releases it is late.
    expect((await pushBy(unreleased(), `${older}:refs/heads/main`)).status).toBe(0);
    expect((await stage.push()).status).toBe(0);
    const text = await releaseLate(older);
    expect(text).toContain(` !     Not released: what was built after ${older.slice(0, 7)} has been.`);
    expect(await stage.releases()).toMatchObject([{ commit: newer, status: "current" }]);
  });

  it("are not launched when what was built after them was released while their pusher did not read", async () => {
    await stage.start();
    const [older, newer] = [
      await stage.commit({ "index.html": "x" }),
      await stage.commit({ "index.html": "y" }),
    ];
    expect((await pushBy(unreleased(), `${older}:refs/heads/main`)).status).toBe(0);
    const text = await releaseLate(older, async (said) => {
      if (said.includes("Releasing v1")) await stage.push();
    });
    expect(text).toContain(` !     Not released: what was built after ${older.slice(0, 7)} has been.`);
    expect(await stage.releases()).toMatchObject([
      { commit: newer, status: "current" },
      { commit: older, status: "failed" },
    ]);
  });

  it("are done anew for who pushes what was built before something else was released", async () => {
    await stage.start();
    const older = await stage.commit({ "gitwharf.yml": `build: 'echo begun; ${WAIT}'\n` });
    const client = spawn("git", ["push", stage.url, "main"], {
      cwd: stage.app.directory,
      stdio: "ignore",
      detached: true,
    });
    await until(async () => (await stage.builds())[0]?.status === "running");
    process.kill(-(client.pid ?? 0), "SIGKILL");
    await until(() => stage.server.active === 0);
    go();
    await until(async () => (await stage.builds())[0]?.status === "succeeded");
    await stage.app.run("checkout", "-q", "--orphan", "other");
    const newer = await stage.commit({ "gitwharf.yml": "build: echo other\n" });
    expect((await stage.push("other:main")).status).toBe(0);
    const result = await stage.push("--force", "main");
    expect(result.status).toBe(0);
    expect(said(result)).toContain("-----> Launching... done, v2");
    expect(await stage.releases()).toMatchObject([
      { commit: older, status: "current" },
      { commit: newer, status: "replaced" },
    ]);
  });

  it("leave no more output than is kept, whether they succeed or not", async () => {
    await stage.start({ buildsKept: 2 });
    for (let i = 0; i < 4; i++) {
      await stage.commit({ "gitwharf.yml": `build: 'echo ${i}; exit 1'\n` });
      expect((await stage.push()).status).not.toBe(0);
    }
    const logs = join(stage.deploy.state.directories.root, "logs");
    await until(() => readdirSync(logs).length === 2);
    const kept = (await stage.builds()).slice(0, 2).map(({ id }) => `${id}.log`);
    expect(readdirSync(logs).toSorted()).toEqual(kept.toSorted());
  });

  it("have succeeded though older files cannot be removed, of which the operator reads", async () => {
    const logged: string[] = [];
    await stage.start({ log: (text) => void logged.push(text) });
    mkdirSync(join(stage.deploy.state.directories.slugsOf((await stage.shop()).id), "no-file.tar"), {
      recursive: true,
    });
    await stage.commit({ "index.html": "x" });
    expect((await stage.push()).status).toBe(0);
    expect(await stage.releases()).toMatchObject([{ status: "current" }]);
    await stage.deploy.close();
    expect(logged.toSorted()).toEqual([
      expect.stringMatching(/^files of builds that are over cannot be removed \(build [0-9a-f-]+\)$/),
      "old slugs of shop cannot be removed",
    ]);
  });

  it("of different apps are done side by side", async () => {
    await stage.start();
    await stage.deploy.state.createApp({ name: "blog" });
    await stage.commit({ "gitwharf.yml": `build: '${WAIT}'\n` });
    const both = [stage.push(), stage.app.try("push", stage.url.replace("shop", "blog"), "main")];
    const blog = await stage.deploy.state.apps.find("blog");
    await until(
      async () =>
        (await stage.builds())[0]?.status === "running" &&
        (await stage.deploy.state.builds.list(blog?.id ?? ""))[0]?.status === "running",
    );
    go();
    expect((await Promise.all(both)).map(({ status }) => status)).toEqual([0, 0]);
  });

  it("of the same commit are one, however many push it", async () => {
    await stage.start();
    await stage.commit({ "gitwharf.yml": `build: 'echo begun; ${WAIT}'\n` });
    const first = stage.push();
    await until(async () => (await stage.builds())[0]?.status === "running");
    const second = spawn("git", ["push", stage.url, "main"], {
      cwd: stage.app.directory,
      stdio: ["ignore", "ignore", "pipe"],
    });
    let seen = "";
    second.stderr.on("data", (chunk: Buffer) => (seen += chunk.toString()));
    const ended = once(second, "close");
    await until(() => seen.includes("is being built already: this is what it prints"));
    go();
    // One of them moves the branch; for the other it stands where it is to go already.
    const { status } = await first;
    await ended;
    expect([status, second.exitCode]).toContain(0);
    expect(seen).toMatch(/ {7}begun *\n/);
    expect(await stage.builds()).toHaveLength(1);
    expect(await stage.releases()).toHaveLength(1);
  });

  it("go on when the time of a push is up; the next push finds them", async () => {
    await stage.start({ pushTimeoutMs: 1000 });
    await stage.commit({ "gitwharf.yml": `build: '${WAIT}'\n` });
    const result = await stage.push();
    expect(result.status).not.toBe(0);
    expect(result.stderr).toContain("[remote rejected] main -> main");
    expect(await stage.builds()).toMatchObject([{ status: "running" }]);
    go();
    await until(async () => (await stage.builds())[0]?.status === "succeeded");
    const again = await stage.push();
    expect(said(again)).toContain("has been built already");
    expect(again.status).toBe(0);
    expect(await stage.builds()).toHaveLength(1);
  });

  it("can be cancelled, and followed from elsewhere", async () => {
    await stage.start();
    await stage.commit({ "gitwharf.yml": `build: 'echo begun; ${WAIT}'\n` });
    const pushed = stage.push();
    await until(async () => (await stage.builds())[0]?.status === "running");
    let text = "";
    const followed = stage.deploy.follow("shop", { print: (more) => void (text += more) });
    await until(() => text.includes("begun"));
    expect(await stage.deploy.cancel((await stage.builds())[0]?.id ?? "")).toBe(true);
    const result = await pushed;
    expect(result.stderr).toContain("[remote rejected] main -> main (build cancelled)");
    expect(await followed).toMatchObject({ status: "cancelled" });
  });

  it("are done once more without an empty commit", async () => {
    await stage.start();
    const oid = await stage.commit({ "gitwharf.yml": "build: date +%N > made\n" });
    await stage.push();
    let text = "";
    const build = await stage.deploy.rebuild("shop", {
      by: "ada",
      print: async (more) => void (text += more),
    });
    expect(build).toMatchObject({ status: "succeeded", attempt: 2, commit: oid });
    expect(text).toContain("-----> Launching... done, v2\n");
    expect(await stage.releases()).toMatchObject([
      { number: 2, status: "current", createdBy: "ada" },
      { number: 1, status: "replaced" },
    ]);
    expect(await stage.deploy.rebuild("shop", { commit: oid.slice(0, 7) })).toMatchObject({ commit: oid });
    await expect(stage.deploy.rebuild("shop", { commit: "fedcba9876" })).rejects.toThrow(
      "shop: no build of it has a commit that begins with fedcba9876",
    );
  });

  it("are released though who asked for it has left while they were built", async () => {
    await stage.start();
    await stage.commit({ "gitwharf.yml": `build: 'test ! -e ../../../../../again || { ${WAIT}; }'\n` });
    await stage.push();
    writeFileSync(join(stage.workspace.directory, "again"), "");
    const leaving = new AbortController();
    const rebuilt = stage.deploy.rebuild("shop", { signal: leaving.signal });
    const left = expect(rebuilt).rejects.toMatchObject({ code: "base/aborted" });
    await until(async () => (await stage.builds())[0]?.status === "running");
    leaving.abort();
    await left;
    go();
    await until(async () => (await stage.releases())[0]?.number === 2);
    await until(async () => (await stage.releases())[0]?.status === "current");
  });

  it("are released though who asked for it cannot be told any more", async () => {
    await stage.start();
    await stage.commit({ "gitwharf.yml": "build: date +%N > made\n" });
    await stage.push();
    const print = async (text: string): Promise<void> => {
      if (text.includes("Launching... done")) throw new Error("nobody is there");
    };
    await expect(stage.deploy.rebuild("shop", { print })).rejects.toThrow("nobody is there");
    expect((await stage.releases())[0]).toMatchObject({ number: 2, status: "current" });
  });

  it("that were refused are pushed again, and what the branch is at is built meanwhile", async () => {
    await stage.start();
    const good = await stage.commit({ "gitwharf.yml": "build: date +%N > made\n" });
    await stage.push();
    const bad = await stage.commit({ "gitwharf.yml": "build: exit 1\n" });
    expect((await stage.push()).status).not.toBe(0);
    expect(await stage.deploy.rebuild("shop")).toMatchObject({ status: "succeeded", commit: good });
    await expect(stage.deploy.rebuild("shop", { commit: bad })).rejects.toThrow(
      `shop has no commit ${bad}: of a push that was refused nothing stays; push it again`,
    );
  });

  it("are done again when the server stops in the middle", async () => {
    await stage.start();
    await stage.commit({ "gitwharf.yml": `build: 'echo begun; ${WAIT}'\n` });
    const pushed = stage.push();
    await until(async () => (await stage.builds())[0]?.status === "running");
    await stage.server.close({ graceMs: 0 });
    await stage.deploy.close();
    expect((await pushed).status).not.toBe(0);
    go();
    await stage.start();
    await until(async () => (await stage.builds())[0]?.status === "succeeded");
    // Who pushes again finds it done.
    expect((await stage.push()).status).toBe(0);
    expect(await stage.builds()).toHaveLength(1);
    expect(await stage.releases()).toMatchObject([{ number: 1, status: "current" }]);
  });

  it("that were pushed and not released are released after a crash", async () => {
    await stage.start();
    const oid = await stage.commit({ "index.html": "x" });
    await stage.push();
    const again = await stage.commit({ "index.html": "y" });
    expect((await pushBy(unreleased())).status).toBe(0);
    expect((await stage.releases()).map(({ commit: of }) => of)).toEqual([oid]);
    await stage.deploy.recover();
    expect(await stage.releases()).toMatchObject([
      { commit: again, status: "current" },
      { commit: oid, status: "replaced" },
    ]);
  });

  it("are released after a crash also when something was built after them that was never pushed", async () => {
    await stage.start();
    const oid = await stage.commit({ "index.html": "x" });
    expect((await pushBy(unreleased())).status).toBe(0);
    await stage.commit({ "index.html": "y" });
    const refused = await pushBy([stage.deploy.handlers, { update: () => "not now" }]);
    expect(refused.stderr).toContain("(not now)");
    expect(await stage.builds()).toMatchObject([
      { status: "succeeded" },
      { status: "succeeded", commit: oid },
    ]);
    await stage.deploy.recover();
    expect(await stage.releases()).toMatchObject([{ commit: oid, status: "current" }]);
  });

  it("of accepted pushes are released when the server stops in the middle, or their time is up", async () => {
    await stage.start({ onBuildFailure: "accept" });
    const oid = await stage.commit({ "gitwharf.yml": `build: 'echo begun; ${WAIT}'\n` });
    const pushed = stage.push();
    await until(async () => (await stage.builds())[0]?.status === "running");
    await stage.server.close({ graceMs: 0 });
    await stage.deploy.close();
    await pushed;
    await stage.start({ onBuildFailure: "accept", pushTimeoutMs: 500 });
    await stage.deploy.recover();
    go();
    await until(async () => (await stage.releases())[0]?.status === "current");
    expect(await stage.releases()).toMatchObject([{ commit: oid }]);
    rmSync(join(stage.workspace.directory, "go"));
    const late = await stage.commit({ x: "late" });
    await stage.push();
    expect(await stage.builds()).toMatchObject([{ commit: late, status: "running" }, {}]);
    go();
    await until(async () => (await stage.releases())[0]?.commit === late);
    await until(async () => (await stage.releases())[0]?.status === "current");
  });

  it("keep what they print, without colours, for who reads it later", async () => {
    await stage.start();
    await stage.commit({
      "gitwharf.yml": `build: printf '\\033[31mred\\033[0m\\n\\033\\033[2J[2J\\302\\233\\007\\n'\n`,
    });
    const result = await stage.push();
    expect(said(result)).toContain("       red\n");
    expect(result.stderr).not.toContain("\x1b[31m");
    let text = "";
    await stage.deploy.follow("shop", { print: (more) => void (text += more) });
    expect(text).toContain("       red\n       ?[2J??\n");
    // oxlint-disable-next-line no-control-regex
    expect(text).not.toMatch(/[\0-\x08\x0b-\x1f\x7f-\x9f]/);
    const [build] = await stage.builds();
    expect(readFileSync(stage.deploy.state.directories.logOf(build?.id ?? ""), "utf8")).toContain(
      "\x1b[31mred",
    );
  });

  it("end when their time is up", async () => {
    await stage.start({ limits: { timeoutMs: 500, killAfterMs: 200 } });
    await stage.commit({ "gitwharf.yml": "build: sleep 1000\n" });
    expect(said(await stage.push())).toContain("the build command failed: it ran for more than 0.5 seconds");
  });
});
