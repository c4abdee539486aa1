/** First pushes to two server processes on one directory, and to one that is killed; repositories that people make. */
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { type MadePush, makePushes } from "./support/made-pushes.js";
import { openRequest, postHead } from "./support/open-request.js";
import { type ServeProcess, startServe } from "./support/serve-process.js";

// Much work beside other tests on a small machine.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const CLI = fileURLToPath(new URL("../src/cli/gitwharf.js", import.meta.url));

/** Pushes to `bad` are refused; a handler that is to wait says so, and waits for a file. */
const CONFIGURATION = `
import { existsSync, writeFileSync } from "node:fs";
const directory = import.meta.dirname;
export default {
  autoCreate: "push",
  handlers: {
    update: (push, { name }) => (name.endsWith("/bad") ? "not this one" : undefined),
    async preReceive(push) {
      if (!push.commands.some(({ name }) => name.endsWith("/waits"))) return undefined;
      writeFileSync(directory + "/runs", "");
      for (let looks = 0; !existsSync(directory + "/go") && looks < 6000; looks++)
        await new Promise((resolve) => setTimeout(resolve, 10));
      return undefined;
    },
  },
};
`;

let workspace: GitClient;
let work: GitClient;
let served: string;
const running = new Set<ServeProcess>();

beforeEach(async () => {
  workspace = createWorkspace();
  served = join(workspace.directory, "served");
  mkdirSync(served);
  writeFileSync(join(workspace.directory, "config.mjs"), CONFIGURATION);
  await workspace.run("init", "-q", "work");
  work = workspace.in("work");
  await work.run("commit", "-q", "--allow-empty", "-m", "first");
});
afterEach(async () => {
  for (const server of running) await server.end("SIGKILL");
  running.clear();
  removeDirectory(workspace);
});

async function serve(): Promise<ServeProcess> {
  const server = await startServe(
    served,
    "--log",
    "none",
    "--config",
    join(workspace.directory, "config.mjs"),
  );
  running.add(server);
  return server;
}

async function kill(server: ServeProcess): Promise<void> {
  running.delete(server);
  await server.end("SIGKILL");
}

async function waitFor(what: () => boolean): Promise<void> {
  for (let looks = 0; !what() && looks < 2000; looks++) await new Promise((done) => setTimeout(done, 5));
  expect(what()).toBe(true);
}

const refsOf = async (name: string): Promise<string[]> => {
  const bare = workspace.in(`served/${name}.git`);
  await bare.run("fsck", "--strict", "--full");
  const text = await bare.run("for-each-ref", "--format=%(refname) %(objectname)");
  return text === "" ? [] : text.split("\n");
};

const hidden = (): string[] => readdirSync(served).filter((name) => name.startsWith("."));

describe("first pushes to two servers", () => {
  it("of twenty branches all succeed, in one repository", async () => {
    const servers = [await serve(), await serve()];
    const wanted: string[] = [];
    let oid = "HEAD";
    for (let i = 0; i < 20; i++) {
      oid = await work.run("commit-tree", "-p", oid, "-m", `number ${i}`, "HEAD^{tree}");
      wanted.push(`refs/heads/branch-${String(i).padStart(2, "0")} ${oid}`);
    }
    const results = await Promise.all(
      wanted.map((line, i) => {
        const [ref = "", oid = ""] = line.split(" ");
        return work.try("push", `${servers[i % 2]?.url}/group/app.git`, `${oid}:${ref}`);
      }),
    );
    for (const { status, stderr } of results) expect(`${status} ${stderr}`).toMatch(/^0 /);
    expect(await refsOf("group/app")).toEqual(wanted);
    await waitFor(() => readdirSync(served).join() === "group");
    expect(readdirSync(join(served, "group"))).toEqual(["app.git"]);
  });

  it("of which one is refused leave what the other pushed", async () => {
    const servers = [await serve(), await serve()];
    const oid = await work.run("rev-parse", "HEAD");
    for (let round = 0; round < 6; round++) {
      const [good, bad] = await Promise.all(
        ["good", "bad"].map((name, i) =>
          work.try("push", `${servers[(round + i) % 2]?.url}/app-${round}.git`, `main:${name}`),
        ),
      );
      expect(good?.status).toBe(0);
      expect(bad?.stderr).toContain("(not this one)");
      expect(await refsOf(`app-${round}`)).toEqual([`refs/heads/good ${oid}`]);
    }
    await waitFor(() => hidden().length === 0);
  });
});

describe("a server that is killed in a first push", () => {
  it.each(["while the pack arrives", "while a handler decides"])(
    "leaves nothing that is found, %s",
    async (when) => {
      const server = await serve();
      const [made] = (await makePushes(work, [2_000_000])) as [MadePush];
      if (when === "while a handler decides") {
        const pushed = work.try("push", `${server.url}/app.git`, "main:waits");
        await waitFor(() => existsSync(join(workspace.directory, "runs")));
        await kill(server);
        expect((await pushed).status).not.toBe(0);
      } else {
        const { length } = made.body;
        const request = await openRequest(
          server.url,
          Buffer.concat([
            Buffer.from(postHead("git-receive-pack", { length })),
            made.body.subarray(0, length >> 1),
          ]),
        );
        await waitFor(() => hidden().some((name) => quarantinesIn(name).length > 0));
        await kill(server);
        await request.closed;
      }
      expect(hidden()).toHaveLength(1);
      expect(readdirSync(served)).toEqual(hidden());

      // Nobody sees it, and it is in nobody's way.
      const next = await serve();
      expect((await workspace.try("clone", "-q", `${next.url}/app.git`, "clone")).status).not.toBe(0);
      await work.run("push", "-q", `${next.url}/app.git`, "main");
      expect(await refsOf("app")).toEqual([`refs/heads/main ${await work.run("rev-parse", "HEAD")}`]);

      // A day later it goes with the next repository that is made beside it.
      const [name = ""] = hidden();
      const old = Date.now() / 1000 - 2 * 86_400;
      const inside = readdirSync(join(served, name), { recursive: true, encoding: "utf8" });
      for (const each of ["", ...inside]) utimesSync(join(served, name, each), old, old);
      await work.run("push", "-q", `${next.url}/other.git`, "main");
      await waitFor(() => hidden().length === 0);
      expect(readdirSync(served).sort()).toEqual(["app.git", "other.git"]);
    },
  );
});

describe("a server that is killed at any moment of first pushes", () => {
  it("has whole repositories or none, and all that it acknowledged", async () => {
    const pushes = await makePushes(
      work,
      Array.from({ length: 10 }, () => 20_000),
    );
    for (const [round, { body, ref, oid }] of pushes.entries()) {
      const server = await serve();
      const name = `app-${round}`;
      const head = postHead("git-receive-pack", { repository: name, length: body.length });
      const request = await openRequest(server.url, Buffer.concat([Buffer.from(head), body]));
      // Ever later: before the first byte is read, in between, and when it has been told.
      if (round < 9) await new Promise((done) => setTimeout(done, round * 8));
      else await request.seen(/ok refs/);
      await kill(server);
      const acknowledged = (await request.closed).includes(`ok ${ref}\n`);
      expect(acknowledged || round < 9).toBe(true);
      const stands = existsSync(join(served, `${name}.git`));
      if (stands) expect(await refsOf(name)).toEqual([`${ref} ${oid}`]);
      expect(stands || !acknowledged).toBe(true);
    }
  });
});

describe("a first push beside a person who makes the repository", () => {
  it.each(["git init --bare", "gitwharf init"])(
    "of %s leaves it when it is refused, else goes there",
    async (how) => {
      const server = await serve();
      if (how === "gitwharf init")
        await promisify(execFile)(process.execPath, [CLI, "init", "-d", served, "app"]);
      else await workspace.run("init", "-q", "--bare", "served/app.git");
      expect((await work.try("push", `${server.url}/app.git`, "main:bad")).stderr).toContain(
        "(not this one)",
      );
      expect(await refsOf("app")).toEqual([]);
      await work.run("push", "-q", `${server.url}/app.git`, "main");
      expect(await refsOf("app")).toHaveLength(1);
    },
  );

  it("is judged by the rules of one that was made while it was under way", async () => {
    const server = await serve();
    const pushed = work.try("push", `${server.url}/app.git`, "main:secret/waits", "main");
    await waitFor(() => existsSync(join(workspace.directory, "runs")));
    await workspace.run("init", "-q", "--bare", "served/app.git");
    await workspace.in("served/app.git").run("config", "receive.hideRefs", "refs/heads/secret");
    writeFileSync(join(workspace.directory, "go"), "");
    const { stderr } = await pushed;
    expect(stderr).toContain("(deny updating a hidden ref)");
    expect(await refsOf("app")).toEqual([`refs/heads/main ${await work.run("rev-parse", "HEAD")}`]);
    await waitFor(() => hidden().length === 0);
  });
});

function quarantinesIn(name: string): string[] {
  const objects = join(served, name, "objects");
  return existsSync(objects) ? readdirSync(objects).filter((each) => each.startsWith("tmp_objdir")) : [];
}
