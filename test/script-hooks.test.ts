/** Scripts of the configuration as hooks, with the real client over HTTP, SSH and git://; receivers. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  createGitServer,
  createReceiver,
  type GitServer,
  type GitServerOptions,
  type ScriptHooks,
} from "../src/index.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";
import { appears, becomes, isRunning, stops } from "./support/running.js";
import { settled } from "./support/settled.js";
import { startPush } from "./support/start-push.js";
import {
  listenEverywhere,
  OPEN_EVERYWHERE,
  type Transport,
  type Transports,
  TRANSPORTS,
} from "./support/transports.js";

let workspace: GitClient;
let app: GitClient;
let server: GitServer | undefined;
let http: string;
let over: Transports;
let env: NodeJS.ProcessEnv;
let temporary: string;
let temporaryBefore: string | undefined;

beforeEach(async () => {
  workspace = createWorkspace();
  temporary = `${workspace.directory}/tmp`;
  mkdirSync(temporary);
  // So that a test sees what is left there.
  temporaryBefore = process.env["TMPDIR"];
  process.env["TMPDIR"] = temporary;
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  writeFileSync(`${app.directory}/README.md`, "hello\n");
  await app.run("add", ".");
  await app.run("commit", "-q", "-m", "first");
});
afterEach(async () => {
  await server?.close({ graceMs: 0 });
  server = undefined;
  if (temporaryBefore === undefined) delete process.env["TMPDIR"];
  else process.env["TMPDIR"] = temporaryBefore;
  removeDirectory(workspace);
});

async function serve(options: Partial<GitServerOptions>): Promise<void> {
  server = createGitServer({
    repositories: `${workspace.directory}/served`,
    autoCreate: "push",
    durability: "none",
    log: () => undefined,
    ...OPEN_EVERYWHERE,
    ...options,
  });
  over = await listenEverywhere(server, workspace.directory);
  ({ env } = over);
  http = new URL(over.urlOf("http", "app")).origin;
}

/** One that soon learns that a client of git:// has gone: it writes to it every second. */
async function initAttentive(name: string): Promise<GitClient> {
  await workspace.run("init", "-q", "--bare", `served/${name}.git`);
  const made = workspace.in(`served/${name}.git`);
  await made.run("config", "receive.keepAlive", "1");
  return made;
}

const push = (name: string, ...refspecs: readonly string[]): Promise<GitResult> =>
  app.try("push", `${http}/${name}.git`, ...refspecs);
const left = (): readonly string[] => readdirSync(temporary);
const becomesEmpty = (): Promise<void> => becomes(() => left().length === 0, `${temporary} is empty`);

describe("scripts of the configuration", () => {
  it.each(TRANSPORTS)("get git's arguments, input and environment, and ours, over %s", async (transport) => {
    const record = `${workspace.directory}/record`;
    const text = `#!/bin/sh
{ echo "$(basename "$0") $*"; sed 's/^/< /'; env | grep -E '^(GITWHARF|GIT_DIR|GIT_PUSH|EXTRA|SECRET)' | sort; echo "cwd $(pwd -P)"; } >> "$RECORD"
`;
    process.env["SECRET"] = "not for hooks";
    await serve({
      hooks: {
        preReceive: text,
        update: { text: text.slice("#!/bin/sh\n".length) },
        postReceive: text,
        postUpdate: text,
        referenceTransaction: text,
        environment: { RECORD: record, EXTRA: "1" },
      },
    });
    const url = over.urlOf(transport, "team/app");
    const { status, stderr } = await app.tryWith({ env }, "push", url, "main");
    expect(status, stderr).toBe(0);
    const oid = await app.run("rev-parse", "HEAD");
    const null40 = "0".repeat(40);
    const line = `< ${null40} ${oid} refs/heads/main`;
    const recorded = readFileSync(record, "utf8");
    expect(recorded).toContain(`pre-receive \n${line}\n`);
    expect(recorded).toContain(`update refs/heads/main ${null40} ${oid}\n`);
    expect(recorded).toContain(`reference-transaction prepared\n${line}\n`);
    expect(recorded).toContain(`post-receive \n${line}\n`);
    expect(recorded).toContain("post-update refs/heads/main\n");
    expect(recorded).toMatch(
      new RegExp(
        `EXTRA=1\nGITWHARF_ADDRESS=127.0.0.1\nGITWHARF_REPOSITORY=team/app\nGITWHARF_REQUEST_ID=[0-9a-f-]{36}\nGITWHARF_TRANSPORT=${transport}\nGIT_DIR=(.+)\nGIT_PUSH_OPTION_COUNT=0\ncwd \\1\n`,
      ),
    );
    expect(recorded).not.toContain("SECRET");
    delete process.env["SECRET"];
  });

  it("name who signed in, and how", async () => {
    await serve({
      hooks: { preReceive: "#!/bin/sh\necho $GITWHARF_USER $GITWHARF_METHOD $GITWHARF_KEY_ID" },
      authenticate: () => ({ user: "ada", method: "token", credentialId: "t1" }),
    });
    const url = http.replace("//", "//ada:secret@");
    expect((await app.try("push", `${url}/app.git`, "main")).stderr).toMatch(/remote: ada token t1 *\n/);
  });

  it("run in order, per server, namespace and repository; the first that fails ends it", async () => {
    const file = `${workspace.directory}/hook.py`;
    writeFileSync(file, "#!/bin/sh\necho file $1\n", { mode: 0o755 });
    await serve({
      hooks: [
        { preReceive: ["#!/bin/sh\necho one", { file, args: ["two"] }] },
        { repositories: ["team/**"], preReceive: "#!/bin/sh\necho team; exit 1" },
        { repositories: ["app"], preReceive: file },
      ],
    });
    const said = ({ stderr }: GitResult): readonly string[] =>
      [...stderr.matchAll(/^remote: (.*?) *$/gm)].map(([, text = ""]) => text);
    expect(said(await push("app", "main"))).toEqual(["one", "file two", "file"]);
    const team = await push("team/a/b", "main");
    expect(said(team)).toEqual(["one", "file two", "team"]);
    expect(team.stderr).toContain("(pre-receive hook declined)");
    expect(existsSync(`${workspace.directory}/served/team`)).toBe(false);
  });

  it("read pushed objects with git, and know other languages", async () => {
    await serve({
      hooks: {
        update: `#!/bin/sh
git cat-file -p "$3:README.md"`,
        postReceive: `#!${process.execPath} --no-warnings
console.log("node", process.execArgv[0], require("fs").readFileSync(0, "utf8").split(" ")[2]);`,
      },
    });
    const { stderr } = await push("app", "main");
    expect(stderr).toMatch(/remote: hello *\n/);
    expect(stderr).toMatch(/remote: node --no-warnings refs\/heads\/main *\n/);
  });

  it("leave the repository's own hooks alone, and come before them", async () => {
    await workspace.run("init", "-q", "--bare", "served/app.git");
    const own = `${workspace.directory}/served/app.git/hooks/pre-receive`;
    writeFileSync(own, "#!/bin/sh\necho own\n", { mode: 0o755 });
    await serve({ hooks: { preReceive: "#!/bin/sh\necho configured" }, repositoryHooks: true });
    expect((await push("app", "main")).stderr).toMatch(/remote: configured *\nremote: own *\n/);
    expect(readFileSync(own, "utf8")).toBe("#!/bin/sh\necho own\n");
  });

  it("run in memory, without a git directory, and without git's prefix on a terminal", async () => {
    await serve({
      repositories: createMemoryRepositoryStore(),
      hooks: { preReceive: '#!/bin/sh\necho "dir ${GIT_DIR-none}"', prefix: false },
    });
    const pushed = await app.try("push", "--progress", `${http}/app.git`, "main");
    expect(pushed.stderr).toMatch(/^remote: \x1b\[1G\x1b\[Kdir none *$/m);
  });

  it("answer as proc-receive", async () => {
    const lines = `#!${process.execPath}
const fs = require("fs");
const line = (text) => (text.length + 4).toString(16).padStart(4, "0") + text;
let input = "";
process.stdin.on("data", (chunk) => {
  input += chunk;
  const flushes = input.split("0000").length - 1;
  if (flushes === 1) process.stdout.write(line("version=1\\n") + "0000");
  const ref = /refs\\/for\\/main/.exec(input);
  if (ref) { process.stdout.write(line("ok refs/for/main\\n") + line("option refname refs/pull/1\\n") + "0000"); process.exit(0); }
});`;
    await serve({ hooks: { procReceive: lines, procReceiveRefs: ["refs/for"] } });
    const { stderr } = await push("app", "main:refs/for/main", "main");
    expect(stderr).toContain("main -> refs/pull/1");
    expect(stderr).toContain("main -> main");
  });

  it.each([
    ["preReceive", "pre-receive", "[remote rejected]"],
    ["update", "update", "(hook declined)"],
    ["procReceive", "proc-receive", "(fail to run proc-receive hook)"],
    ["referenceTransaction", "reference-transaction", "[remote rejected]"],
    ["postReceive", "post-receive", "main -> "],
    ["postUpdate", "post-update", "main -> "],
  ])("are ended with all that they started when their time is up: %s", async (option, hook, says) => {
    const pid = `${workspace.directory}/pid`;
    await serve({
      hooks: {
        [option]: `#!/bin/sh\nsleep 300 & echo $! > ${pid}\nwait`,
        procReceiveRefs: ["refs/for"],
        timeoutMs: 300,
        killAfterMs: 50,
      },
    });
    const { status, stderr } = await push("slow", option === "procReceive" ? "main:refs/for/main" : "main");
    expect(stderr).toContain(`the '${hook}' hook was ended: it ran for more than 0.3 seconds`);
    expect([status, stderr]).toEqual([option.startsWith("post") ? 0 : 1, expect.stringContaining(says)]);
    await stops(Number(readFileSync(pid, "utf8")));
  });

  it.each(TRANSPORTS)(
    "are ended with all that they started when their client has gone, over %s",
    async (via) => {
      const pid = `${workspace.directory}/pid`;
      await serve({
        hooks: { preReceive: `#!/bin/sh\nsleep 300 & echo $! > ${pid}\nwait`, killAfterMs: 50 },
      });
      const slow = await initAttentive("slow");
      const client = startPush(app, [over.urlOf(via, "slow"), "main"], env);
      const started = Number(await appears(pid));
      expect(isRunning(started)).toBe(true);
      await client.kill();
      await settled(server ?? { active: 0 });
      await stops(started);
      expect(await slow.run("for-each-ref")).toBe("");
    },
  );

  it("are ended when they print without end", async () => {
    await serve({ hooks: { preReceive: "#!/bin/sh\nexec yes", outputBytesMax: 10_000, killAfterMs: 50 } });
    const { status, stderr } = await push("app", "main");
    expect(stderr).toContain("the 'pre-receive' hook was ended: it printed more than 10000 bytes");
    expect([status, stderr.length < 100_000]).toEqual([1, true]);
  });

  it("wait for a pusher who does not read", async () => {
    const progress = `${workspace.directory}/progress`;
    const texts = 192;
    await serve({
      hooks: {
        // 64 KiB at a time, and a line for each that it got rid of.
        preReceive: `#!/bin/sh
echo > ${workspace.directory}/ready
until [ -e ${workspace.directory}/go ]; do sleep 0.01; done
line=$(head -c 1023 /dev/zero | tr '\\0' x)
text=$(for i in 1 2 3 4 5 6 7 8; do for j in 1 2 3 4 5 6 7 8; do echo "$line"; done; done)
i=0; while [ $i -lt ${texts * 8} ]; do printf '%s\\n' "$text"; i=$((i+1)); echo $i > ${progress}; done`,
        outputBytesMax: 1_000_000_000,
      },
    });
    const client = startPush(app, [over.urlOf("http", "app"), "main"], env);
    await appears(`${workspace.directory}/ready`);
    client.signal("SIGSTOP");
    writeFileSync(`${workspace.directory}/go`, "");
    const printed = (): number => (existsSync(progress) ? Number(readFileSync(progress, "latin1")) : 0);
    // Until the script stands still: buffers on the way take a few megabytes.
    for (let seen = -1, still = 0, looks = 0; still < 20 && looks < 4000; looks++) {
      await new Promise((resolve) => setTimeout(resolve, 25));
      still = seen === printed() && seen > 0 ? still + 1 : 0;
      seen = printed();
    }
    expect(printed()).toBeLessThan(texts * 8);
    client.signal("SIGCONT");
    await client.ended();
    expect(printed()).toBe(texts * 8);
    expect(await app.run("ls-remote", over.urlOf("http", "app"))).toContain("refs/heads/main");
  });

  it("find Gitorious's names, too", async () => {
    await serve({
      hooks: {
        preReceive: "#!/bin/sh\nenv | grep -E '^(GITORIOUS_|REMOTE_USER)' | sort",
        environment: { GITORIOUS_PROTO: "mine" },
      },
      authenticate: () => ({ user: "ada" }),
      resolveRepository: () => ({
        repository: "app",
        facts: { repository_id: "7", ssh_clone_url: "git@x:app" },
      }),
    });
    const { stderr } = await app.try("push", `${http.replace("//", "//ada:x@")}/app.git`, "main");
    const said = [...stderr.matchAll(/^remote: (.*?) *$/gm)].map(([, line]) => line);
    expect(said).toEqual([
      "GITORIOUS_PROTO=mine",
      "GITORIOUS_REPOSITORY_ID=7",
      "GITORIOUS_SSH_CLONE_URL=git@x:app",
      "GITORIOUS_USER=ada",
      "REMOTE_USER=ada",
    ]);
  });

  it("run side by side in two pushes, each with its own objects", async () => {
    // Nobody looks before both are there, and nobody goes before both have looked.
    const wait = (file: string): string =>
      `i=0; until [ $(wc -l < ${workspace.directory}/${file}) = 2 ] || [ $i = 1000 ]; do sleep 0.02; i=$((i+1)); done`;
    await serve({
      hooks: {
        preReceive: `#!/bin/sh
read old new ref
echo $new >> ${workspace.directory}/here
${wait("here")}
while read oid; do git cat-file -e $oid 2>/dev/null && echo "sees $oid"; done < ${workspace.directory}/here
echo >> ${workspace.directory}/looked
${wait("looked")}`,
      },
    });
    await workspace.run("init", "-q", "--bare", "served/app.git");
    await workspace.run("init", "-q", "other");
    const other = workspace.in("other");
    await other.run("commit", "-q", "--allow-empty", "-m", "of another");
    const oids = [await app.run("rev-parse", "main"), await other.run("rev-parse", "main")];
    const both = [app, other].map((client, i) => client.try("push", over.urlOf("http", "app"), `main:b${i}`));
    for (const [i, { status, stderr }] of (await Promise.all(both)).entries()) {
      expect(status, stderr).toBe(0);
      expect([...stderr.matchAll(/sees (\w+)/g)].map(([, oid]) => oid)).toEqual([oids[i]]);
    }
  });

  it("stand in a directory that goes with the server, and comes back when it is tidied away", async () => {
    await serve({ hooks: { preReceive: "#!/bin/sh\necho here" } });
    expect(left()).toEqual([]);
    expect((await push("app", "main:a")).stderr).toContain("remote: here");
    expect(left()).toEqual([expect.stringMatching(/^gitwharf-hooks-/)]);
    for (const name of left()) rmSync(`${temporary}/${name}`, { recursive: true });
    expect((await push("app", "main:b")).stderr).toContain("remote: here");
    await server?.close({ graceMs: 0 });
    expect(left()).toEqual([]);
  });

  it.each([
    [{ preReceive: "echo hi" }, /hooks.preReceive names a program that cannot be run/],
    [{ preReceive: "/etc" }, /no file/],
    [{ preReceive: "/etc/passwd" }, /cannot be run/],
    [{ preReceive: { text: " " } }, /empty script/],
    [
      { update: "#!/no/such/shell\n" },
      /hooks.update wants an interpreter that cannot be run: .*\/no\/such\/shell/,
    ],
    [{ preRecieve: "#!/bin/sh" }, /hooks has no 'preRecieve'/],
    [{ timeoutMs: 0 }, /hooks.timeoutMs is a number above 0/],
    [{ repositories: "app" }, /hooks.repositories is a list of texts/],
    [7, /hooks is an object with scripts/],
  ])("that are wrong are told when the server starts: %j", (hooks, why) => {
    expect(() =>
      createGitServer({
        repositories: createMemoryRepositoryStore(),
        hooks: hooks as ScriptHooks,
      }),
    ).toThrow(why);
  });
});

describe("a receiver", () => {
  const urlOver = (transport: Transport): string => over.urlOf(transport, "app");
  const BRANCHES = ["main", "feature/*"];

  it("is called for allowed branches with their whole names, and refuses others", async () => {
    const seen: string[] = [];
    await serve({
      handlers: createReceiver({
        branches: BRANCHES,
        tags: ["v*"],
        handler: ({ branch, update }) => void seen.push(`${branch} ${update.created ? "created" : "moved"}`),
      }),
    });
    const { stderr } = await push(
      "app",
      "main",
      "main:feature/x",
      "main:feature/x/y",
      "main:refs/tags/v1",
      "main:refs/x/y",
    );
    expect(seen.toSorted()).toEqual(["feature/x created", "main created", "v1 created"]);
    expect(stderr).toContain("main -> feature/x/y (only main, feature/*, tag v* may be pushed here)");
    expect(stderr).toContain("main -> refs/x/y (only main");
    expect((await push("app", ":feature/x")).status).toBe(0);
    expect(seen).toHaveLength(3);
  });

  it.each(TRANSPORTS)(
    "has directories that are made when they are asked for, and gone afterwards, over %s",
    async (transport) => {
      let directories: readonly string[] = [];
      let inside: readonly string[] = [];
      await serve({
        handlers: createReceiver({
          handler: async ({ branch, checkout }) => {
            if (branch === "none") return undefined;
            directories = [await checkout(), await checkout({ paths: ["nothing"] })];
            inside = directories.map((directory) => readdirSync(directory).join());
            if (branch === "throws") throw new Error("on purpose");
            return branch === "refused" ? "no" : undefined;
          },
        }),
      });
      for (const [branch, says] of [
        ["none", "main -> none"],
        ["taken", "main -> taken"],
        ["refused", "main -> refused (no)"],
        ["throws", "main -> throws (hook declined"],
      ]) {
        expect((await app.tryWith({ env }, "push", urlOver(transport), `main:${branch}`)).stderr).toContain(
          says,
        );
        expect(left()).toEqual([]);
      }
      expect([inside, directories.map((directory) => existsSync(directory))]).toEqual([
        ["README.md", ""],
        [false, false],
      ]);
    },
  );

  it.each(TRANSPORTS)(
    "keeps nothing when a handler takes too long, or its client is killed, over %s",
    async (transport) => {
      const ready = `${workspace.directory}/ready`;
      let release: () => void = () => undefined;
      await serve({
        handlers: createReceiver({
          checkout: true,
          timeoutMs: 1000,
          async handler({ directory }) {
            writeFileSync(ready, `${directory}\n`);
            await new Promise<void>((resolve) => (release = resolve));
          },
        }),
      });
      expect((await app.tryWith({ env }, "push", urlOver(transport), "main")).stderr).toContain(
        "(the update handler took longer than 1 seconds)",
      );
      await becomesEmpty();
      release();
      rmSync(ready);
      await initAttentive("app");
      const client = startPush(app, [urlOver(transport), "main"], env);
      await appears(ready);
      expect(left()).toHaveLength(1);
      await client.kill();
      await becomesEmpty();
      release();
      await settled(server ?? { active: 0 });
      expect(left()).toEqual([]);
    },
  );

  it("keeps nothing when its server closes", async () => {
    const ready = `${workspace.directory}/ready`;
    await serve({
      handlers: createReceiver({
        checkout: true,
        async handler({ directory }) {
          writeFileSync(ready, `${directory}\n`);
          await new Promise(() => undefined);
        },
      }),
    });
    const pushed = push("app", "main");
    await appears(ready);
    await server?.close({ graceMs: 0 });
    await becomesEmpty();
    expect((await pushed).status).not.toBe(0);
  });

  it("works on after the push, in the first push of a repository, too", async () => {
    let files: readonly string[] = [];
    await serve({
      handlers: createReceiver({
        branches: BRANCHES,
        when: "after",
        checkout: ["*.md"],
        handler: async ({ directory, print, push: { repository } }) => {
          files = readdirSync(directory);
          await print(`made ${repository.name}\n`);
        },
      }),
    });
    expect((await push("app", "main")).stderr).toMatch(/remote: made app *\n/);
    expect([files, left()]).toEqual([["README.md"], []]);
    expect((await push("app", "main:wild")).stderr).toContain("may be pushed here");
  });

  it("keeps a directory on purpose, and knows its options", async () => {
    await serve({ handlers: createReceiver({ checkout: true, keep: true, handler: () => undefined }) });
    await push("app", "main");
    expect(left()).toHaveLength(1);
    const made =
      (options: object): (() => unknown) =>
      () =>
        createReceiver(options as never);
    expect(made({ handler: () => undefined, branch: ["main"] })).toThrow(/a receiver has no 'branch'/);
    expect(made({})).toThrow(/needs a handler/);
    expect(made({ handler: () => undefined, branches: "main" })).toThrow(/branches is a list of patterns/);
  });
});
