/** A push whose commands are not allowed, over connections that go both ways: git shows why, ref by ref, and keeps to it. */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { GitwharfError } from "../src/base/errors.js";
import type { Limits } from "../src/base/limits.js";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { openRequest } from "./support/open-request.js";
import { pktLine } from "./support/raw-http.js";
import { formatCommands } from "./support/raw-push.js";
import { settled } from "./support/settled.js";
import { createSshClient } from "./support/ssh-client.js";
import { makeSshKey, type SshKeyFile } from "./support/ssh-keygen.js";

let workspace: GitClient;
let work: GitClient;
let server: GitServer;
let environment: NodeJS.ProcessEnv;
let gitUrl: string;
let key: SshKeyFile;
const urls: Record<string, string> = {};
const requests: string[] = [];
/** Of each that was over, in the same order. */
const bytesRead: number[] = [];
let isAway = false;

beforeAll(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "work");
  work = workspace.in("work");
  key = makeSshKey(workspace.directory, "key");
  await work.run("commit", "-q", "--allow-empty", "-m", "first");
  writeFileSync(join(work.directory, "large"), randomBytes(6 * 1024 * 1024));
  await work.run("add", "-A");
  await work.run("commit", "-q", "-m", "large");
});
afterEach(() => server.close({ graceMs: 0 }));
afterAll(() => removeDirectory(workspace));

async function serve(limits: Partial<Limits> = {}): Promise<void> {
  requests.length = 0;
  bytesRead.length = 0;
  isAway = false;
  server = createGitServer({
    repositories: createMemoryRepositoryStore(),
    autoCreate: "push",
    log: ({ message, fields }) => {
      requests.push(message);
      bytesRead.push(Number(fields?.["bytesIn"] ?? 0));
    },
    limits,
    gitDaemon: { exportAll: true, receivePack: true },
    authenticate: () => ({ user: "ada" }),
    policies: [
      { effect: "deny", refs: ["refs/heads/kept/**"], reason: "this is kept" },
      { effect: "deny", refs: ["refs/heads/main"], actions: ["delete"], reason: "main stays" },
      {
        decide: ({ commands }) => {
          if (!isAway || commands === undefined) return undefined;
          throw new GitwharfError("access/unavailable", "the rules are away");
        },
      },
      { effect: "allow" },
    ],
  });
  const { ssh, git } = await server.listen({ http: 0, ssh: 0, git: 0 });
  environment = createSshClient({
    directory: workspace.directory,
    port: ssh?.port ?? 0,
    keys: [key.path],
    options: ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"],
  }).environment;
  gitUrl = git?.url ?? "";
  urls["SSH"] = `ssh://git@127.0.0.1:${ssh?.port}/app.git`;
  urls["git://"] = `${gitUrl}/app.git`;
}

const push = (transport: string, ...refs: readonly string[]): ReturnType<GitClient["try"]> =>
  work.tryWith({ env: environment }, "push", urls[transport] ?? "", ...refs);

describe.each(["SSH", "git://"])("over %s", (transport) => {
  it("is reported ref by ref, with packs and without", async () => {
    await serve();
    expect(await push(transport, "main~1:refs/heads/main")).toMatchObject({ status: 0 });
    for (const [refs, why] of [
      [["main:refs/heads/kept/a"], "[remote rejected] main -> kept/a (this is kept)"],
      [["main:refs/heads/b", "main:refs/heads/kept/a"], "[remote rejected] main -> b (this is kept)"],
      [[":refs/heads/main"], "[remote rejected] main (main stays)"],
      [Array.from({ length: 3000 }, (_, i) => `main:refs/heads/kept/${i}`), "-> kept/2999 (this is kept)"],
    ] as const) {
      const { status, stderr } = await push(transport, ...refs);
      expect(stderr).toContain(why);
      expect(status).toBe(1);
      expect(stderr).not.toMatch(/hung up|disconnect/);
    }
    await settled(server);
    expect((await work.tryWith({ env: environment }, "ls-remote", urls[transport] ?? "")).stdout).toMatch(
      /^[0-9a-f]{40}\tHEAD\n[0-9a-f]{40}\trefs\/heads\/main\n$/,
    );
    const own = requests.filter((text) => /receive-pack/.test(text)).join("\n");
    expect(own).not.toMatch(/ 128$|gone$/m);
  });

  it("is reported as well when nobody can tell whether it is allowed", async () => {
    await serve();
    expect(await push(transport, "main~1:refs/heads/main")).toMatchObject({ status: 0 });
    isAway = true;
    const { status, stderr } = await push(transport, "main");
    expect(stderr).toContain(
      "! [remote rejected] main -> main (the server could not decide on authorization; try again later)",
    );
    expect(status).toBe(1);
  });

  it("is heard no longer than a pack may be large", async () => {
    await serve({ packSizeBytesMax: 100_000 });
    const { status, stderr } = await push(transport, "main:refs/heads/kept/a");
    expect(status).not.toBe(0);
    expect(stderr).toMatch(/this is kept|hung up|disconnect/);
    await settled(server);
    expect(requests.join("\n")).toContain("receive-pack");
    expect(Math.max(...bytesRead)).toBeLessThan(1_000_000);
  });
});

describe("a raw push over git://", () => {
  const request = (body: string | Buffer): ReturnType<typeof openRequest> =>
    openRequest(
      gitUrl,
      Buffer.concat([Buffer.from(pktLine("git-receive-pack /app\0host=x\0")), Buffer.from(body)]),
    );

  it("that is not allowed is reported without bands, whatever follows", async () => {
    await serve();
    const commands = formatCommands([{ newOid: "1".repeat(40), name: "refs/heads/kept/x" }]);
    const open = await request(`${commands}PACK and what is none`);
    await open.seen(/ng refs\/heads\/kept\/x this is kept/);
    open.socket.end();
    await open.closed;
    await settled(server);
  });

  it("whose client does not leave is not waited for without end", async () => {
    await serve({ idleTimeoutMs: 100 });
    const commands = formatCommands([{ newOid: "1".repeat(40), name: "refs/heads/kept/x" }]);
    const open = await request(commands);
    expect(await open.closed).toContain("ng refs/heads/kept/x this is kept");
    await settled(server);
  });
});
