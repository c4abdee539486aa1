/**
 * Hooks inside a repository, run for pushes of the real client over HTTP, and beside those that `git receive-pack`
 * runs. proc-receive and push-to-checkout have tests of their own.
 */
import { existsSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createRepositoryHooks } from "../src/hooks/repository-hooks.js";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import type { GitClient } from "./support/git-client.js";
import { createHookedRepositories, type HookedRepositories } from "./support/hooked-repositories.js";
import { RECORD, readRecord, type Recorded, writeHook } from "./support/record-hooks.js";
import { CLI } from "./support/run-gitwharf.js";
import { stops } from "./support/running.js";
import { listenEverywhere, OPEN_EVERYWHERE, type Transports } from "./support/transports.js";

const NULL = "0".repeat(40);
let made: HookedRepositories;
let app: GitClient;
let server: TestServer;
/** Its hooks may run for half a second and print 64 KiB. */
let strict: TestServer;
/** By every transport. */
let everywhere: GitServer;
let over: Transports;
let bare: GitClient;
let url: string;
let first: string;
let second: string;
let count = 0;

beforeAll(async () => {
  made = await createHookedRepositories({ "receive.advertisePushOptions": "true" });
  const { workspace } = made;
  ({ app, first, second } = made);
  const repositories = `${workspace.directory}/served`;
  server = await createTestServer({ repositories, durability: "none", repositoryHooks: true });
  strict = await createTestServer({
    repositories,
    durability: "none",
    handlers: createRepositoryHooks({ environment: process.env, timeoutMs: 500, outputBytesMax: 65_536 }),
  });
  everywhere = createGitServer({
    repositories,
    durability: "none",
    repositoryHooks: true,
    ...OPEN_EVERYWHERE,
    log: () => undefined,
  });
  over = await listenEverywhere(everywhere, workspace.directory);
});
afterAll(async () => {
  await everywhere.close({ graceMs: 0 });
  await server.close();
  await strict.close();
  made.remove();
});

beforeEach(async () => {
  const name = `r${count++}`;
  bare = await made.create(`served/${name}.git`);
  url = server.urlOf(name);
});

const strictUrl = (): string => url.replace(server.url, strict.url);
const refs = (): Promise<string> => bare.run("for-each-ref", "--format=%(refname)");

describe("hooks of a repository, beside git receive-pack", () => {
  const HOOKS = ["pre-receive", "update", "reference-transaction", "post-receive", "post-update"];

  async function pushBoth(...args: readonly string[]): Promise<[readonly Recorded[], readonly Recorded[]]> {
    const theirs = await made.create(`theirs/r${count}.git`);
    const records: (readonly Recorded[])[] = [];
    for (const [repository, target] of [
      [bare, url],
      [theirs, theirs.directory],
    ] as const) {
      await app.run("push", "-q", target, `${first}:refs/heads/main`, `${first}:refs/heads/gone`);
      for (const name of HOOKS) writeHook(repository, name, RECORD);
      await app.run("push", "-q", ...args.slice(0, -3), target, ...args.slice(-3));
      records.push(readRecord(repository));
    }
    return records as [readonly Recorded[], readonly Recorded[]];
  }

  const REFS = ["second:refs/heads/main", "first:refs/heads/new", ":refs/heads/gone"];
  const specs = (): string[] => REFS.map((ref) => ref.replace("first", first).replace("second", second));

  it("gives the same arguments, input and environment", async () => {
    const [ours, theirs] = await pushBoth("--atomic", "-o", "a=b", "-o", "two words", ...specs());
    const of = (records: readonly Recorded[], name: string): readonly Recorded[] =>
      records.filter((record) => record.name === name);
    for (const name of ["pre-receive", "post-receive"]) {
      expect(of(ours, name)).toEqual(of(theirs, name));
      expect(of(ours, name)).toHaveLength(1);
    }
    expect(of(ours, "pre-receive")[0]).toEqual({
      name: "pre-receive",
      args: "",
      cwd: "REPOSITORY",
      input: [
        `${first} ${second} refs/heads/main`,
        `${NULL} ${first} refs/heads/new`,
        `${first} ${NULL} refs/heads/gone`,
      ]
        .toSorted()
        .join("\n"),
      environment: [
        "GIT_ALTERNATE_OBJECT_DIRECTORIES=REPOSITORY/objects",
        "GIT_DIR=REPOSITORY",
        "GIT_OBJECT_DIRECTORY=REPOSITORY/objects/QUARANTINE",
        "GIT_PUSH_OPTION_0=a=b",
        "GIT_PUSH_OPTION_1=two words",
        "GIT_PUSH_OPTION_COUNT=2",
        "GIT_QUARANTINE_PATH=REPOSITORY/objects/QUARANTINE",
      ],
    });
    // update and post-update are told of the push options and update of the quarantine too, unlike git's.
    for (const name of ["update", "post-update"]) {
      const bones = (records: readonly Recorded[]): unknown =>
        of(records, name).map(({ args, input, cwd }) => ({ args, input, cwd }));
      expect(bones(ours)).toEqual(bones(theirs));
    }
    expect(of(ours, "update")).toHaveLength(3);
    const last = (records: readonly Recorded[], state: string): unknown => {
      const record = of(records, "reference-transaction").findLast(({ args }) => args === state);
      // git's files backend adds HEAD, which moves with its branch.
      return { input: record?.input.replace(/^.* HEAD\n/m, ""), cwd: record?.cwd };
    };
    for (const state of ["prepared", "committed"]) expect(last(ours, state)).toEqual(last(theirs, state));
  });

  it("counts no push options when the client sends none", async () => {
    const [ours, theirs] = await pushBoth(...specs());
    const environments = (records: readonly Recorded[]): unknown =>
      records.filter(({ name }) => /receive/.test(name)).map(({ environment }) => environment);
    expect(environments(ours)).toEqual(environments(theirs));
    expect(JSON.stringify(environments(ours))).toContain("GIT_PUSH_OPTION_COUNT=0");
  });
});

describe("hooks of a repository, whatever the transport", () => {
  it.each(["http", "ssh", "git", "stdio"] as const)("get git's words and ours over %s", async (via) => {
    for (const name of ["pre-receive", "update", "post-receive"])
      writeHook(bare, name, `${RECORD}\nenv | grep ^GITWHARF_ | sort >> ours`);
    const [to, args, env]: [string, readonly string[], NodeJS.ProcessEnv] =
      via === "stdio"
        ? [bare.directory, [`--receive-pack=${process.execPath} ${CLI} receive-pack --repository-hooks`], {}]
        : [over.urlOf(via, bare.directory.split(/[/.]/).at(-2) ?? ""), [], over.env];
    const { status, stderr } = await app.tryWith({ env }, "push", ...args, to, "main");
    expect(status, stderr).toBe(0);
    const line = `${NULL} ${second} refs/heads/main`;
    expect(readRecord(bare)).toMatchObject([
      { name: "pre-receive", args: "", input: line, cwd: "REPOSITORY" },
      { name: "update", args: `refs/heads/main ${NULL} ${second}`, input: "" },
      { name: "post-receive", args: "", input: line },
    ]);
    const ours = readFileSync(`${bare.directory}/ours`, "utf8");
    expect(ours.match(new RegExp(`^GITWHARF_TRANSPORT=${via}$`, "gm"))).toHaveLength(3);
    expect(ours.match(/^GITWHARF_REPOSITORY=r\d+(\.git)?$/gm)).toHaveLength(3);
    expect(ours.match(/^GITWHARF_ADDRESS=127\.0\.0\.1$/gm) ?? []).toHaveLength(via === "stdio" ? 0 : 3);
  });
});

describe("hooks of a repository", () => {
  it("run only when the operator said so", async () => {
    for (const name of ["pre-receive", "update", "post-receive"]) writeHook(bare, name, "touch ran; exit 1");
    const closed = await createTestServer({ repositories: `${made.workspace.directory}/served` });
    try {
      await app.run("push", "-q", url.replace(server.url, closed.url), "main");
      expect(existsSync(`${bare.directory}/ran`)).toBe(false);
    } finally {
      await closed.close();
    }
  });

  it("print to the pusher, and pre-receive refuses all", async () => {
    writeHook(bare, "pre-receive", "echo out; echo err >&2; exit 3");
    const { status, stderr } = await app.try("push", url, "main", `${first}:refs/heads/b`);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^remote: out *$/m);
    expect(stderr).toMatch(/^remote: err *$/m);
    expect(stderr.match(/\[remote rejected\].*\(pre-receive hook declined\)/g)).toHaveLength(2);
    expect(await refs()).toBe("");
    expect(await bare.run("count-objects")).toMatch(/^0 objects/);
  });

  it("let update refuse one ref, or with --atomic all", async () => {
    writeHook(bare, "update", '[ "$1" != refs/heads/b ]');
    const both = [url, "main", `${first}:refs/heads/b`];
    const atomic = await app.try("push", "--atomic", ...both);
    expect([atomic.status, await refs()]).toEqual([1, ""]);
    const { status, stderr } = await app.try("push", ...both);
    expect([status, await refs()]).toEqual([1, "refs/heads/main"]);
    expect(stderr).toMatch(/\[remote rejected\].*-> b \(hook declined\)/);
  });

  it("let reference-transaction stop a transaction, and tell it so", async () => {
    writeHook(bare, "reference-transaction", `${RECORD}\n[ "$1" != prepared ]`);
    const { status, stderr } = await app.try("push", "--atomic", url, "main");
    expect([status, await refs()]).toEqual([1, ""]);
    expect(stderr).toMatch(/\[remote rejected\]/);
    expect(readRecord(bare).map(({ args }) => args)).toEqual(["prepared", "aborted"]);
  });

  it("do not undo a push after the refs have moved", async () => {
    writeHook(bare, "post-receive", "echo after; exit 1");
    writeHook(bare, "post-update", 'echo "updated $*"; exit 1');
    const { status, stderr } = await app.try("push", url, "main");
    expect(status).toBe(0);
    expect(stderr).toMatch(/^remote: after *\nremote: updated refs\/heads\/main *$/m);
  });

  it("read the pushed objects before they are published", async () => {
    await app.run("push", "-q", url, `${first}:refs/heads/main`);
    writeHook(
      bare,
      "pre-receive",
      'while read old new ref; do git rev-list $old..$new; git cat-file -p "$new^{commit}"; done',
    );
    const { stderr } = await app.try("push", url, "main");
    expect(stderr).toMatch(new RegExp(`^remote: ${second} *\nremote: tree `, "m"));
  });

  it("are out of the quarantine once the objects are published, also when there are none", async () => {
    writeHook(
      bare,
      "reference-transaction",
      `echo "$1 \${GIT_QUARANTINE_PATH-none}" >> transactions; cat > input`,
    );
    writeHook(
      bare,
      "post-receive",
      `while read old new name; do case $name in refs/copies/*) ;; *) git update-ref refs/copies/$new $new;; esac; done`,
    );
    // A pack with objects, then one without.
    for (const refspec of [`${first}:refs/heads/main`, `${first}:refs/tags/same`]) {
      const { status, stderr } = await app.try("push", url, refspec);
      expect([status, stderr]).toEqual([0, expect.not.stringContaining("fatal")]);
      expect(await refs()).toContain(`refs/copies/${first}`);
      await bare.run("update-ref", "-d", `refs/copies/${first}`);
    }
    expect(readFileSync(`${bare.directory}/transactions`, "utf8")).not.toMatch(/ (?!none$)/m);
  });

  it("need not read their input", async () => {
    writeHook(bare, "pre-receive", "exec <&-\nexit 0");
    const many = Array.from({ length: 1500 }, (_, i) => `${first}:refs/heads/branch-with-a-long-name-${i}`);
    await app.run("push", "-q", url, ...many);
    expect((await refs()).split("\n")).toHaveLength(1500);
  });

  it("are ended when they print without end", async () => {
    writeHook(bare, "pre-receive", "exec yes");
    const { status, stderr } = await app.try("push", strictUrl(), "main");
    expect([status, await refs()]).toEqual([1, ""]);
    expect(stderr).toMatch(/error: the 'pre-receive' hook was ended: it printed more than 65536 bytes/);
    expect(stderr.length).toBeLessThan(200_000 * 6);
  });

  const LEAVING =
    "setsid sh -c 'echo $$ > pid; exec sleep 60' &\nuntil [ -s pid ]; do sleep 0.01; done\nexit 0";
  it.each([
    ["in its group", "sleep 300 & echo $! > pid; wait"],
    ["that ended, leaving one with its output", LEAVING],
  ])("are ended when they hang: %s", async (what, script) => {
    writeHook(bare, "pre-receive", script);
    const { status, stderr } = await app.try("push", strictUrl(), "main");
    expect(stderr).toMatch(/error: the 'pre-receive' hook was ended: it ran for more than 0.5 seconds/);
    expect([status, await refs()]).toEqual([1, ""]);
    const pid = Number(readFileSync(`${bare.directory}/pid`, "latin1"));
    if (what === "in its group") await stops(pid);
    else process.kill(pid);
  });

  it("are passed over, with a warning, when they are not executable", async () => {
    writeHook(bare, "pre-receive", "exit 1", 0o644);
    const { status, stderr } = await app.try("push", url, "main");
    expect(status).toBe(0);
    expect(stderr).toMatch(/^remote: hint: .*'(hooks\/)?pre-receive' hook was ignored because it/m);
  });

  it("refuse when they cannot be started", async () => {
    writeHook(bare, "pre-receive", "", 0o755, "#!/nonexistent/shell");
    const { status, stderr } = await app.try("push", url, "main");
    expect([status, await refs()]).toEqual([1, ""]);
    expect(stderr).toMatch(/'pre-receive' hook was ended: it could not be started/);
  });

  it("stand in hooks/ only: core.hooksPath is not followed", async () => {
    const other = await made.create(`served/other-${count}.git`);
    writeHook(other, "pre-receive", "exit 1");
    await bare.run("config", "core.hooksPath", `${other.directory}/hooks`);
    expect((await app.try("push", url, "main")).status).toBe(0);
  });
});
