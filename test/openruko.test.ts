/** Openruko's front door with the real client: who gets a build, who does not, and what either is told. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { AuditEntry } from "../src/access/audit/audit-entry.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";
import {
  DYNO_NAME,
  type Front,
  makeWork,
  type Openruko,
  type Person,
  runGit,
  SERVER_KEY,
  startOpenruko,
  writeRecords,
} from "./support/openruko.js";
import { createSshClient } from "./support/ssh-client.js";
import { makeSshKey } from "./support/ssh-keygen.js";

const UNREACHABLE = " ! Unable to contact build server.";

describe("Openruko's front door", () => {
  let workspace: GitClient;
  let openruko: Openruko;
  let front: Front;
  let ada: Person;
  let bob: Person;

  beforeAll(async () => {
    workspace = createWorkspace();
    openruko = await startOpenruko(workspace.directory);
    ada = openruko.person("ada");
    bob = openruko.person("bob");
    front = await openruko.serve();
  });
  afterEach(() => {
    openruko.answer = undefined;
    openruko.behave = runGit;
    openruko.asked.length = 0;
    openruko.builds.length = 0;
  });
  afterAll(async () => {
    await openruko.close();
    removeDirectory(workspace);
  });

  const push = (work: GitClient, at: Front, person: Person, app: string): Promise<GitResult> =>
    work.tryWith({ env: at.client(person).environment }, "push", at.url(app), "main");

  it("pushes to a build and clones from one", async () => {
    await openruko.app("web", ada);
    const work = await makeWork(workspace, "work", 3);
    expect(await push(work, front, ada, "web")).toMatchObject({ status: 0 });
    const md5 = /fingerprint=([0-9a-f]{32}) /.exec(openruko.asked[0] ?? "")?.[1];
    expect(openruko.asked).toEqual([
      `GET /internal/lookupUserByPublicKey?fingerprint=${md5} ${SERVER_KEY}`,
      `POST /internal/web/gitaction?command=git-receive-pack ${ada.apiKey}`,
    ]);
    const build = await openruko.build(0);
    expect(build.head).toBe(`${SERVER_KEY}\n${build.id}\n`);
    // The client has ended its side long before its build has ended: that is no signal.
    expect(build.told).toBeUndefined();

    const cloned = await workspace.tryWith(
      { env: front.client(ada).environment },
      "clone",
      "-q",
      front.url("web"),
      "copy",
    );
    expect(cloned).toMatchObject({ status: 0 });
    expect(await workspace.in("copy").run("rev-parse", "HEAD")).toBe(await work.run("rev-parse", "HEAD"));
    expect(openruko.asked.at(-1)).toBe(`POST /internal/web/gitaction?command=git-upload-pack ${ada.apiKey}`);
    // Keys stand in no line of the log.
    expect(front.said.join("\n")).not.toMatch(/key-of-/);
    expect(front.said.join("\n")).toContain("git-receive-pack of 'web' for ada goes to dyno");
  });

  it("shows what the build says, and that it failed", async () => {
    const path = await openruko.app("failing", ada);
    mkdirSync(join(path, "hooks"), { recursive: true });
    const hook = join(path, "hooks", "pre-receive");
    writeFileSync(hook, "#!/bin/sh\necho '-----> No buildpack'\nexit 1\n");
    chmodSync(hook, 0o755);
    openruko.behave = (build, run) => {
      build.socket.write("E:\n ! This dyno is slow.\n", () => runGit(build, run));
    };
    const { status, stderr } = await push(await makeWork(workspace, "fails"), front, ada, "failing");
    expect(status).toBe(1);
    expect(stderr).toContain("remote: -----> No buildpack");
    expect(stderr).toContain("pre-receive hook declined");
    expect(stderr).toContain("\n ! This dyno is slow.\n");
    expect(stderr).not.toContain("E:");
  });

  it("tells standard error from lines, also for a client that is slow to read", async () => {
    await openruko.app("mixed", ada);
    const lines = Array.from({ length: 200 }, (_, number) => Buffer.alloc(16_000, `line ${number} `));
    openruko.behave = ({ socket }) => {
      const write = writeRecords(socket);
      lines.forEach((line, number) => {
        void write(Buffer.from(`E:error ${number}\n`));
        void write(Buffer.from((line.length + 6).toString(16).padStart(4, "0")));
        // The middle of a line, as chance would have it.
        void write(Buffer.from("E:"));
        void write(line);
      });
      void write(Buffer.from("0000")).then(() => socket.end());
    };
    const { status, bytes, stderr } = await front
      .client(ada)
      .ssh(["git@127.0.0.1", "git-upload-pack 'mixed.git'"]);
    expect(status).toBe(0);
    expect(stderr).toBe(lines.map((_, number) => `error ${number}\n`).join(""));
    const expected = Buffer.concat([
      ...lines.flatMap((line) => [Buffer.from("3e86E:"), line]),
      Buffer.from("0000"),
    ]);
    expect(bytes.equals(expected)).toBe(true);
  });

  it("moves large packs whole, both ways", async () => {
    await openruko.app("large", ada);
    const work = await makeWork(workspace, "large-work");
    const seed = Buffer.alloc(8 * 1024 * 1024);
    for (let at = 0, state = 7; at < seed.length; at += 4) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      seed.writeUInt32LE(state, at);
    }
    writeFileSync(join(work.directory, "blob"), seed);
    await work.run("add", "blob");
    await work.run("commit", "-q", "-m", "large");
    expect(await push(work, front, ada, "large")).toMatchObject({ status: 0 });
    const env = front.client(ada).environment;
    const cloned = await workspace.tryWith({ env }, "clone", "-q", front.url("large"), "large-copy");
    expect(cloned).toMatchObject({ status: 0 });
    expect(await workspace.in("large-copy").run("rev-parse", "HEAD:blob")).toBe(
      await work.run("rev-parse", "HEAD:blob"),
    );
  });

  it.each([
    ["another user's app", "theirs"],
    ["an app that is not there", "nothing"],
  ])("refuses %s in the same words", async (_, app) => {
    await openruko.app("theirs", bob);
    const { status, stderr } = await push(await makeWork(workspace, `for-${app}`), front, ada, app);
    expect(status).not.toBe(0);
    expect(stderr).toContain(
      ` ! There is no app '${app}', or you do not have access to it; you are signed in as ada.\n`,
    );
    expect(openruko.builds).toEqual([]);
    const asked = await front.client(ada).ssh(["git@127.0.0.1", `git-upload-pack '${app}.git'`]);
    expect(asked).toMatchObject({ status: 1, stdout: "" });
  });

  it.each([
    "git-receive-pack '../x.git'",
    "git-receive-pack 'x'",
    "git-receive-pack '-x.git'",
    "git-receive-pack 'a/x.git'",
    "git-receive-pack x.git",
    "git-upload-archive 'x.git'",
    "git receive-pack 'x.git'",
    "git-receive-pack 'x.git' more",
    "sh",
  ])("knows no %s", async (command) => {
    const { status, stderr, stdout } = await front.client(ada).ssh(["git@127.0.0.1", command]);
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    expect(stderr).toBe(
      `\n ! Invalid path.\n ! Syntax is: ssh://git@127.0.0.1:${front.port}/<app>.git where <app> is your app's name.\n\n`,
    );
  });

  it("takes slashes before the name, and names with @, _ and -", async () => {
    await openruko.app("a@b_c-d", ada);
    const { status } = await front
      .client(ada)
      .ssh(["git@127.0.0.1", "git-upload-pack '///a@b_c-d.git'"], "0000");
    expect(status).toBe(0);
    expect(openruko.asked.at(-1)).toContain("/internal/a@b_c-d/gitaction");
  });

  it("greets who asks for a shell", async () => {
    const { status, stderr } = await front.client(ada).ssh(["git@127.0.0.1"]);
    expect(status).toBe(1);
    expect(stderr).toContain(" ! Hello ada, you are signed in. There is no shell here.");
  });

  it("lets unknown keys in nowhere, and asks for none that did not sign", async () => {
    const stranger = makeSshKey(workspace.directory, "stranger");
    const { status, stderr } = await front
      .client(stranger)
      .ssh(["git@127.0.0.1", "git-upload-pack 'web.git'"]);
    expect(status).toBe(255);
    expect(stderr).toContain("Permission denied (publickey)");
    expect(openruko.asked).toHaveLength(1);
    // Of an agent's keys, the first that is known.
    const both = await front.client(stranger, bob).ssh(["bob@127.0.0.1"]);
    expect(both.stderr).toContain("Hello bob");
  });

  it("counts unknown keys by address, and refused apps by user", async () => {
    const strict = await openruko.serve(
      {
        unknownKeysPerAddress: { max: 2, seconds: 600 },
        refusalsPerUser: { max: 2, seconds: 600 },
      },
      { rates: { exempt: [] } },
    );
    const ask = (person: Person): Promise<GitResult> =>
      strict.client(person).ssh(["git@127.0.0.1", "git-upload-pack 'nothing.git'"]);
    for (let number = 0; number < 2; number++) expect((await ask(ada)).stderr).toContain("There is no app");
    const refused = await ask(ada);
    expect(refused).toMatchObject({ status: 1 });
    expect(refused.stderr).toMatch(/ ! Too many apps were refused; try again in \d+ seconds\./);
    // Others are not held to it.
    expect((await ask(bob)).stderr).toContain("There is no app");
    const strangers = [1, 2, 3].map((number) => makeSshKey(workspace.directory, `stranger-${number}`));
    openruko.asked.length = 0;
    for (const stranger of strangers)
      expect((await strict.client(stranger).ssh(["git@127.0.0.1"])).stderr).toContain("Permission denied");
    expect(openruko.asked).toHaveLength(2);
  });

  it("tells that the API server is away, or does not take the server's key", async () => {
    for (const options of [
      { apiServerUrl: "http://127.0.0.1:1" },
      { apiServerKey: "another-key", rendezvousSecret: SERVER_KEY },
    ]) {
      const other = await openruko.serve(options);
      const { status, stderr } = await other.client(ada).ssh(["git@127.0.0.1", "git-upload-pack 'web.git'"]);
      expect({ status, stderr }).toEqual({ status: 127, stderr: `\n${UNREACHABLE}\n\n` });
      expect(openruko.builds).toEqual([]);
      await other.heard("was not looked up: ");
    }
    const hasty = await openruko.serve({ timeoutMs: 100 });
    openruko.answer = () => true;
    const asked = await hasty.client(ada).ssh(["git@127.0.0.1", "git-upload-pack 'web.git'"]);
    expect(asked).toMatchObject({ status: 127, stderr: `\n${UNREACHABLE}\n\n` });
    const work = await makeWork(workspace, "while-away");
    openruko.answer = (request, response) => {
      if (request.method === "GET") return false;
      response.writeHead(503).end("later");
      return true;
    };
    const pushed = await push(work, front, ada, "web");
    expect(pushed.stderr).toContain(UNREACHABLE);
    expect(pushed.status).not.toBe(0);
  });

  it.each<[string, string]>([
    ["no JSON", "host"],
    ["no host", JSON.stringify({ dyno_id: "d" })],
    ["a host that is none", JSON.stringify({ host: "a b", dyno_id: "d" })],
    ["a dyno_id of two lines", JSON.stringify({ host: "127.0.0.1", dyno_id: "d\nx" })],
    ["more than it may", "x".repeat(100_000)],
  ])("believes no answer with %s", async (_, text) => {
    openruko.answer = (request, response) => {
      if (request.method === "GET") return false;
      response.writeHead(200).end(text);
      return true;
    };
    const { status, stderr } = await front.client(ada).ssh(["git@127.0.0.1", "git-upload-pack 'web.git'"]);
    expect({ status, stderr }).toEqual({ status: 127, stderr: `\n${UNREACHABLE}\n\n` });
    expect(openruko.builds).toEqual([]);
  });

  it.each([
    ["an authority that is not trusted", { rendezvousCaFile: "another.pem" }],
    ["another name", { rendezvousServerName: "other.test" }],
  ])("says nothing to a dyno host with a certificate of %s", async (_, options) => {
    const { generate } = await import("selfsigned");
    const caFile = join(workspace.directory, "another.pem");
    writeFileSync(caFile, (await generate([{ name: "commonName", value: "x" }], { keyType: "ec" })).cert);
    const other = await openruko.serve(
      "rendezvousCaFile" in options ? { rendezvousCaFile: caFile } : options,
    );
    await openruko.app("sealed", ada);
    const { status, stderr } = await other.client(ada).ssh(["git@127.0.0.1", "git-upload-pack 'sealed.git'"]);
    expect({ status, stderr }).toEqual({ status: 127, stderr: `\n${UNREACHABLE}\n\n` });
    expect(openruko.builds).toEqual([]);
    expect(other.said.join("\n")).toMatch(/certificate|altnames/i);
  });

  it("asks an API server over TLS, when its certificate is good", async () => {
    await openruko.app("over-tls", ada);
    const { apiTlsUrl: apiServerUrl, caFile } = openruko;
    const ask = (at: Front): Promise<GitResult> =>
      at.client(ada).ssh(["git@127.0.0.1", "git-upload-pack 'over-tls.git'"], "0000");
    const good = await openruko.serve({ apiServerUrl, apiServerCaFile: caFile });
    expect(await ask(good)).toMatchObject({ status: 0 });
    openruko.asked.length = 0;
    const doubtful = await openruko.serve({ apiServerUrl });
    expect(await ask(doubtful)).toMatchObject({ status: 127 });
    expect(openruko.asked).toEqual([]);
  });

  it("holds policies of its own before the API server is asked", async () => {
    await openruko.app("frozen", ada);
    const other = await openruko.serve(
      {},
      {
        policies: [
          { name: "no pushes", effect: "deny", operations: ["push"], reason: "frozen today" },
          { name: "all else", effect: "allow" },
        ],
      },
    );
    const pushed = await push(await makeWork(workspace, "frozen-work"), other, ada, "frozen");
    expect(pushed.stderr).toContain(" ! Frozen today.");
    expect(openruko.asked.filter((each) => each.startsWith("POST"))).toEqual([]);
  });

  it("stands in the audit log, and takes no push that cannot", async () => {
    await openruko.app("audited", ada);
    const entries: AuditEntry[] = [];
    let isBroken = false;
    const audit = (entry: AuditEntry): void => {
      if (isBroken) throw new Error("the disk is full");
      entries.push(entry);
    };
    const other = await openruko.serve({}, { audit });
    const work = await makeWork(workspace, "audited-work");
    expect(await push(work, other, ada, "audited")).toMatchObject({ status: 0 });
    await push(work, other, bob, "audited");
    await other.heard("'/audited.git' 1");
    await new Promise(setImmediate);
    const pushes = entries.filter(({ event }) => event.startsWith("push"));
    expect(pushes).toMatchObject([
      { event: "push-begin", user: "ada", method: "openruko", repository: "audited" },
      { user: "ada", method: "openruko", repository: "audited", outcome: "ok" },
      { event: "push-begin", user: "bob" },
      { user: "bob", method: "openruko", repository: "audited", outcome: "denied" },
    ]);
    expect(JSON.stringify(entries)).not.toMatch(/key-of-/);
    isBroken = true;
    openruko.builds.length = 0;
    const refused = await push(work, other, ada, "audited");
    expect(refused.stderr).toContain(
      " ! The server cannot write its audit log, and takes no pushes until it can",
    );
    expect(openruko.builds).toEqual([]);
  });

  it("serves no command to who was signed in by others", async () => {
    const told: Buffer[] = [];
    const status = await front.server.runCommand({
      identity: { user: "ada" },
      address: undefined,
      command: "git-upload-pack 'web.git'",
      input: (async function* () {})(),
      output: { write: () => undefined },
      errors: { write: (...chunks) => void told.push(...chunks.map((chunk) => Buffer.from(chunk))) },
      signal: AbortSignal.timeout(10_000),
    });
    expect(status).toBe(1);
    expect(Buffer.concat(told).toString()).toContain(
      " ! The build server does not know this way to sign in;",
    );
    expect(openruko.builds).toEqual([]);
  });

  it("is closed over HTTP to who has no other way to sign in", async () => {
    const { http } = await front.server.listen({ http: 0 });
    expect((await fetch(`${http.url}/web.git/info/refs?service=git-upload-pack`)).status).toBe(401);
  });
});

describe("gitwharf serve --openruko", () => {
  const CLI = fileURLToPath(new URL("../src/cli/gitwharf.js", import.meta.url));

  it("pushes, with the environment that Openruko's front door had", async () => {
    const workspace = createWorkspace();
    const openruko = await startOpenruko(workspace.directory);
    const config = join(workspace.directory, "config.json");
    const { caFile: rendezvousCaFile, apiUrl, rendezvousPort, directory } = openruko;
    writeFileSync(
      config,
      JSON.stringify({ openruko: { rendezvousCaFile, rendezvousServerName: DYNO_NAME } }),
    );
    const args = ["--config", config, "--http", "127.0.0.1:0", "--ssh", "127.0.0.1:0", "--openruko"];
    const child = spawn(process.execPath, [CLI, "serve", join(directory, "own"), ...args], {
      env: {
        PATH: process.env["PATH"],
        APISERVER_KEY: SERVER_KEY,
        APISERVER_HOSTNAME: "127.0.0.1",
        APISERVER_PORT: new URL(apiUrl).port,
        DYNOHOST_RENDEZVOUS_PORT: String(rendezvousPort),
      },
    });
    const closed = once(child, "close");
    try {
      let text = "";
      const port = await new Promise<number>((resolve, reject) => {
        for (const stream of [child.stdout, child.stderr])
          stream.on("data", (chunk: Buffer) => {
            text += chunk.toString();
            const found = /ssh:\/\/git@127\.0\.0\.1:(\d+)[^]*Ctrl-C/.exec(text)?.[1];
            if (found !== undefined) resolve(Number(found));
          });
        child.once("close", () => reject(new Error(text)));
      });
      expect(text).toContain("SSH commands are passed on to builds");
      const ada = openruko.person("ada");
      const path = await openruko.app("web", ada);
      const work = await makeWork(workspace, "work");
      const { environment: env } = createSshClient({ directory, port, keys: [ada.path] });
      const url = `ssh://git@127.0.0.1:${port}/web.git`;
      expect(await work.tryWith({ env }, "push", "-q", url, "main")).toMatchObject({ status: 0 });
      expect(await workspace.run("-C", path, "rev-parse", "main")).toBe(await work.run("rev-parse", "HEAD"));
    } finally {
      child.kill("SIGTERM");
      await closed;
      await openruko.close();
      removeDirectory(workspace);
    }
  });

  it("does not start without the key, or without SSH", () => {
    for (const [env, args, said] of [
      [{}, [], "APISERVER_KEY"],
      [{ APISERVER_KEY: "x" }, ["--ssh", "off"], "openruko is about SSH"],
    ] as const) {
      const { status, stderr } = spawnSync(
        process.execPath,
        [CLI, "serve", "/nonexistent/repositories", "--http", "127.0.0.1:0", "--openruko", ...args],
        { env: { PATH: process.env["PATH"], ...env }, encoding: "utf8" },
      );
      expect(status).toBe(2);
      expect(stderr).toContain(said);
    }
  });
});
