/**
 * The one authorization point, with real clients over HTTP, SSH and git:// and with raw requests: asked about every
 * request, before any work; whatever does not say yes is a no; and the person reads why.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { PolicyEntry } from "../src/access/policies/policy-rule.js";
import type { AuthorizationRequest, Authorize } from "../src/engine/authorization.js";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import type { RepositoryStore } from "../src/storage/contracts/repository.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import type { ServiceLogEntry } from "../src/transport/service-host.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";
import { openRequest } from "./support/open-request.js";
import { pktLine, send } from "./support/raw-http.js";
import { pushOfBlob, RECEIVE_PACK_TYPE, UPLOAD_PACK_TYPE } from "./support/raw-push.js";
import { createSshClient } from "./support/ssh-client.js";
import { makeSshKey } from "./support/ssh-keygen.js";

let workspace: GitClient;
let app: GitClient;
let server: GitServer | undefined;
let urls: Record<"http" | "ssh" | "git", string>;
let env: NodeJS.ProcessEnv;
let opened: string[];
let logged: ServiceLogEntry[];

beforeEach(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "one");
  opened = [];
  logged = [];
});
afterEach(async () => {
  await server?.close({ graceMs: 0 });
  server = undefined;
  removeDirectory(workspace);
});

/** Tells which repositories were opened. */
function watched(store: RepositoryStore): RepositoryStore {
  return {
    ...store,
    open: (name) => {
      opened.push(name);
      return store.open(name);
    },
  };
}

async function serve(options: Partial<GitServerOptions>): Promise<void> {
  const store = createMemoryRepositoryStore();
  await (await store.create("app")).close();
  server = createGitServer({
    repositories: watched(store),
    authenticate: () => ({ user: "ada" }),
    gitDaemon: { exportAll: true, receivePack: true },
    log: (entry) => void logged.push(entry),
    ...options,
  });
  const { http, ssh, git } = await server.listen({ http: 0, ssh: 0, git: 0 });
  const port = ssh?.port ?? 0;
  urls = {
    http: `${http.url.replace("://", "://ada:x@")}/app.git`,
    ssh: `ssh://git@127.0.0.1:${port}/app.git`,
    git: `${git?.url}/app.git`,
  };
  const keys = [makeSshKey(workspace.directory, `key${port}`).path];
  env = createSshClient({ directory: workspace.directory, port, keys }).environment;
}

const git = (...args: readonly string[]): Promise<GitResult> => app.tryWith({ env }, ...args);
const TRANSPORTS = ["http", "ssh", "git"] as const;
const bare = (): string => urls.http.replace("ada:x@", "");
const basic = { Authorization: `Basic ${Buffer.from("ada:x").toString("base64")}` };

describe("every request is asked about", () => {
  it("before a repository is looked for: services, raw requests, plain files, archives", async () => {
    const asked: AuthorizationRequest[] = [];
    const authorize: Authorize = (request) => {
      asked.push(request);
      expect(opened).toEqual([]);
      return { allowed: false, reason: "nobody today" };
    };
    await serve({ authorize });
    const requests: readonly (readonly [string, () => Promise<unknown>, string])[] = [
      ["discovery", () => send(`${bare()}/info/refs?service=git-upload-pack`), "fetch"],
      ["discovery of a push", () => send(`${bare()}/info/refs?service=git-receive-pack`), "push"],
      [
        "HEAD of the discovery",
        () => send(`${bare()}/info/refs?service=git-upload-pack`, { method: "HEAD" }),
        "fetch",
      ],
      ["dumb refs", () => send(`${bare()}/info/refs`), "fetch"],
      ["dumb HEAD", () => send(`${bare()}/HEAD`), "fetch"],
      ["dumb packs", () => send(`${bare()}/objects/info/packs`), "fetch"],
      ["a loose object", () => send(`${bare()}/objects/aa/${"b".repeat(38)}`), "fetch"],
      [
        "a raw fetch",
        () =>
          send(`${bare()}/git-upload-pack`, { body: "0000", headers: { "Content-Type": UPLOAD_PACK_TYPE } }),
        "fetch",
      ],
      [
        "a raw push",
        () =>
          send(`${bare()}/git-receive-pack`, {
            body: pushOfBlob("x", "x"),
            headers: { "Content-Type": RECEIVE_PACK_TYPE },
          }),
        "push",
      ],
      ["a fetch over SSH", () => git("ls-remote", urls.ssh), "fetch"],
      ["a push over SSH", () => git("push", urls.ssh, "main"), "push"],
      ["an archive over SSH", () => git("archive", `--remote=${urls.ssh}`, "main"), "archive"],
      ["a fetch over git://", () => git("ls-remote", urls.git), "fetch"],
      ["a push over git://", () => git("push", urls.git, "main"), "push"],
      ["an archive over git://", () => git("archive", `--remote=${urls.git}`, "main"), "archive"],
    ];
    for (const [what, request, operation] of requests) {
      asked.length = 0;
      await request();
      expect([what, asked.map((one) => one.operation)]).toEqual([what, [operation]]);
    }
  });

  it("and about all refs of a push at once, with who, where from and by what", async () => {
    const asked: AuthorizationRequest[] = [];
    await serve({
      authorize: (request) => {
        asked.push(request);
        return { allowed: true };
      },
    });
    for (const transport of TRANSPORTS) {
      asked.length = 0;
      const refs = ["main", `main:${transport}-2`];
      expect(await git("push", "-q", "--force", urls[transport], ...refs)).toMatchObject({ status: 0 });
      const withRefs = asked.filter(({ commands }) => commands !== undefined);
      expect(withRefs).toHaveLength(1);
      expect(withRefs[0]).toMatchObject({
        // Over HTTP git signs in when it is asked to.
        identity: { user: transport === "ssh" ? "ada" : undefined },
        repository: "app",
        operation: "push",
        address: "127.0.0.1",
        transport,
      });
      // What is there already is not pushed again.
      expect(withRefs[0]?.commands?.map(({ name }) => name)).toContain(`refs/heads/${transport}-2`);
    }
  });
});

async function change(path: string): Promise<void> {
  const { stdout } = await app.tryWith({ input: `${Math.random()}` }, "hash-object", "-w", "--stdin");
  await app.run("update-index", "--add", "--cacheinfo", `100644,${stdout.trim()},${path}`);
  await app.run("commit", "-q", "-m", path);
}

const never = new Promise<never>(() => undefined);
/** What is no yes. */
const NO: readonly (readonly [string, () => unknown])[] = [
  [
    "throws",
    () => {
      throw new Error("postgres://user:secret@db is away");
    },
  ],
  ["rejects", () => Promise.reject(new Error("postgres://user:secret@db is away"))],
  ["rejects with nothing", () => Promise.reject()],
  ["answers nothing", () => undefined],
  ["answers null", () => null],
  ["answers true", () => true],
  ["answers a text", () => "allowed"],
  ["answers another word", () => ({ allowed: "yes" })],
  ["answers 1", () => ({ allowed: 1 })],
  ["denies without a reason", () => ({ allowed: false })],
  ["never answers", () => never],
];

/** Answers are judged in one place, whatever the transport: three go over each, the others over one, in turn. */
function transportsFor(what: string): readonly (typeof TRANSPORTS)[number][] {
  if (["throws", "denies without a reason", "never answers"].includes(what)) return TRANSPORTS;
  const turn = NO.findIndex(([name]) => name === what) % TRANSPORTS.length;
  return TRANSPORTS.slice(turn, turn + 1);
}

describe("what is no yes is a no", () => {
  it.each(NO)("when `authorize` %s", async (what, answer) => {
    await serve({ authorize: answer as Authorize, limits: { decisionTimeoutMs: 60 } });
    for (const transport of transportsFor(what)) {
      const read = await git("ls-remote", urls[transport]);
      const pushed = await git("push", urls[transport], "main");
      expect([transport, read.status, pushed.status]).toEqual([transport, 128, 128]);
      const told = `${read.stderr}${pushed.stderr}`;
      expect(told).toMatch(/could not decide on authorization|gave no answer|not allowed to do this/);
      expect(told).not.toMatch(/secret|postgres/);
    }
    const headers = { ...basic, "Content-Type": RECEIVE_PACK_TYPE };
    const raw = await send(`${bare()}/git-receive-pack`, { body: pushOfBlob("x", "x"), headers });
    expect(raw.status).toBe(403);
    expect(opened).toEqual([]);
  });

  it.each(NO)("when it %s about the refs, and was for the discovery", async (what, answer) => {
    const authorize = ((request: AuthorizationRequest) =>
      request.commands === undefined ? { allowed: true } : answer()) as Authorize;
    await serve({ authorize, limits: { decisionTimeoutMs: 60 } });
    for (const transport of transportsFor(what)) {
      const pushed = await git("push", urls[transport], "main");
      expect([transport, pushed.status === 0]).toEqual([transport, false]);
      expect([transport, pushed.stderr]).toEqual([
        transport,
        expect.stringMatching(/could not decide on authorization|gave no answer|not allowed to do this/),
      ]);
    }
    expect((await git("ls-remote", urls.http)).stdout).toBe("");
  });

  it.each(NO.filter(([name]) => name !== "answers nothing"))(
    "when a policy in code %s, before the objects are there and after",
    async (_, answer) => {
      for (const late of [false, true]) {
        let asked = 0;
        // A rule in front that may allow keeps the code from being asked before.
        const policies = [
          ...(late ? [{ effect: "allow", paths: ["nothing/**"] }] : []),
          {
            decide: ({ operation }: AuthorizationRequest) =>
              operation === "push" ? (asked++, answer()) : { allowed: true },
          },
          { effect: "allow", users: ["@users"] },
        ] as readonly PolicyEntry[];
        await serve({ policies, limits: { decisionTimeoutMs: 60 } });
        await change("src");
        const pushed = await git("push", urls.http, "main");
        expect(pushed.status).not.toBe(0);
        expect(asked).toBeGreaterThan(0);
        expect(pushed.stderr).not.toMatch(/secret|postgres/);
        expect((await git("ls-remote", urls.http)).stdout).toBe("");
        await server?.close({ graceMs: 0 });
      }
    },
  );

  it("when what stands behind the policies says no without a reason, once the objects are there", async () => {
    const policies: readonly PolicyEntry[] = [
      { effect: "allow", operations: ["read"] },
      { effect: "allow", paths: ["docs/**"] },
    ];
    await serve({ policies, authorize: (() => ({ allowed: false })) as unknown as Authorize });
    await change("src");
    const pushed = await git("push", urls.http, "main");
    expect(pushed.stderr).toContain("You are not allowed to do this");
    expect((await git("ls-remote", urls.http)).stdout).toBe("");
  });

  it("when the callbacks for credentials and names never answer: 503, so that git keeps its password", async () => {
    const wait = { limits: { decisionTimeoutMs: 60 } };
    await serve({ authenticate: () => never, ...wait });
    expect((await send(`${bare()}/info/refs?service=git-upload-pack`, { headers: basic })).status).toBe(503);
    expect((await git("ls-remote", urls.ssh)).stderr).toContain("Permission denied");
    await server?.close({ graceMs: 0 });
    await serve({ resolveRepository: () => never, ...wait });
    expect((await send(`${bare()}/info/refs?service=git-upload-pack`, { headers: basic })).status).toBe(503);
    expect(logged.some(({ error }) => String(error).includes("gave no answer within 60 ms"))).toBe(true);
  });
});

describe("the reason reaches the person", () => {
  const reason = "the freeze lasts until Monday; ask #release";

  it.each([0, 1, 2])("in protocol version %i, over HTTP, SSH and git://", async (version) => {
    await serve({ authorize: () => ({ allowed: false, reason, answer: "forbid" }) });
    for (const transport of TRANSPORTS) {
      const with_ = ["-c", `protocol.version=${version}`];
      const read = await git(...with_, "ls-remote", urls[transport]);
      const pushed = await git(...with_, "push", urls[transport], "main");
      expect([transport, read.stderr]).toEqual([transport, expect.stringContaining(reason)]);
      expect([transport, pushed.stderr]).toEqual([transport, expect.stringContaining(reason)]);
      if (transport === "http") continue;
      const archive = await git(...with_, "archive", `--remote=${urls[transport]}`, "main");
      expect([transport, archive.stderr]).toEqual([transport, expect.stringContaining(reason)]);
    }
  });

  it.each([0, 1, 2])("of a ref that is refused, in version %i, large packs included", async (version) => {
    await serve({
      authorize: ({ commands = [] }) =>
        commands.some(({ name }) => name.endsWith("/frozen"))
          ? { allowed: false, reason }
          : { allowed: true },
    });
    // More than all buffers between client and server hold.
    const { stdout } = await app.tryWith(
      { input: Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => (i * 7919 * (i >> 3)) & 255)) },
      "hash-object",
      "-w",
      "--stdin",
    );
    await app.run("update-index", "--add", "--cacheinfo", `100644,${stdout.trim()},big`);
    await app.run("commit", "-q", "-m", "big");
    for (const transport of TRANSPORTS) {
      const pushed = await git("-c", `protocol.version=${version}`, "push", urls[transport], "main:frozen");
      expect([transport, pushed.status]).not.toEqual([transport, 0]);
      expect([transport, pushed.stderr]).toEqual([transport, expect.stringContaining(reason)]);
    }
  });

  it("of raw requests: as text over HTTP, in a line of git://", async () => {
    await serve({ authorize: () => ({ allowed: false, reason: `${reason}\r\nX: y` }) });
    const { status, body, headers } = await send(`${bare()}/git-upload-pack`, {
      body: "0000",
      headers: { ...basic, "Content-Type": UPLOAD_PACK_TYPE },
    });
    expect([status, body.toString().includes(reason), headers["x"]]).toEqual([403, true, undefined]);
    const line = pktLine("git-upload-pack /app.git\0host=localhost\0");
    const raw = await openRequest(urls.git, line);
    expect(await raw.closed).toContain(`ERR ${reason}`);
  });
});
