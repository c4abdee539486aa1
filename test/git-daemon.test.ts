/** git:// with the real client, and raw requests: what is exported, what is refused and how, and who stalls or leaves. */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import type { ServiceLogEntry } from "../src/transport/service-host.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { type OpenRequest, openRequest } from "./support/open-request.js";
import { pktLine } from "./support/raw-http.js";

const NOT_EXPORTED = "access denied or repository not exported";

let workspace: GitClient;
const servers: GitServer[] = [];
beforeAll(() => {
  workspace = createWorkspace();
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close({ graceMs: 0 });
});
afterAll(() => removeDirectory(workspace));

async function listen(
  options: Partial<GitServerOptions>,
): Promise<{ readonly url: string; readonly server: GitServer; readonly log: ServiceLogEntry[] }> {
  const log: ServiceLogEntry[] = [];
  const server = createGitServer({
    repositories: createMemoryRepositoryStore(),
    log: (entry) => void log.push(entry),
    ...options,
  });
  servers.push(server);
  const { git } = await server.listen({ http: 0, git: 0 });
  return { url: git?.url ?? "", server, log };
}

/** A repository with two commits, in a work tree of its own. */
async function makeWork(name: string, format = "sha1"): Promise<GitClient> {
  await workspace.run("init", "-q", `--object-format=${format}`, name);
  const work = workspace.in(name);
  writeFileSync(join(work.directory, "a.txt"), "a\n");
  await work.run("add", "-A");
  await work.run("commit", "-q", "-m", "first");
  await work.run("commit", "-q", "--allow-empty", "-m", "second");
  return work;
}

describe("git:// with the real client", () => {
  it.each([
    ["sha1", 0],
    ["sha1", 1],
    ["sha1", 2],
    ["sha256", 0],
    ["sha256", 2],
  ])("pushes where that is allowed, clones and fetches %s with protocol v%i", async (format, version) => {
    const name = `${format}-${version}`;
    const work = await makeWork(name, format);
    const { url } = await listen({
      autoCreate: "push",
      objectFormat: format === "sha256" ? "sha256" : "sha1",
      gitDaemon: { exportAll: true, receivePack: true },
    });
    const remote = `${url}/team/${name}.git`;
    const protocol = ["-c", `protocol.version=${version}`];
    await work.run(...protocol, "push", "-q", remote, "main~1:refs/heads/main");
    await workspace.run(...protocol, "clone", "-q", remote, `${name}-copy`);
    await work.run("tag", "-a", "-m", "tag", "v1");
    await work.run(...protocol, "push", "-q", "--follow-tags", remote, "main");
    const copy = workspace.in(`${name}-copy`);
    await copy.run(...protocol, "pull", "-q", "--tags");
    expect(await copy.run("rev-parse", "HEAD", "v1")).toBe(await work.run("rev-parse", "HEAD", "v1"));
    await copy.run("fsck", "--strict");
    const refused = await work.try(...protocol, "push", remote, "main~1:refs/heads/main");
    expect(refused.stderr).toContain("rejected");
    for (const archive of ["tar", "zip"]) {
      const [ours, theirs] = ["ours", "theirs"].map((one) => join(workspace.directory, `${name}-${one}`));
      const what = [`--format=${archive}`, "--prefix=p/", "v1"];
      await work.run("archive", `--remote=${remote}`, "-o", ours ?? "", ...what);
      await work.run("archive", "-o", theirs ?? "", ...what);
      expect(readFileSync(ours ?? "").equals(readFileSync(theirs ?? ""))).toBe(true);
    }
    const packed = join(workspace.directory, `${name}.tar.gz`);
    await work.run("archive", `--remote=${remote}`, "-o", packed, "main");
    expect(spawnSync("tar", ["-tzf", packed], { encoding: "utf8" }).stdout).toBe("a.txt\n");
  });

  it("serves what is marked, and tells of nothing else", async () => {
    const work = await makeWork("marked");
    const root = join(workspace.directory, "repositories");
    for (const name of ["open", "closed"]) {
      await workspace.run("clone", "-q", "--bare", work.directory, join(root, `${name}.git`));
    }
    writeFileSync(join(root, "open.git", "git-daemon-export-ok"), "");
    const { url } = await listen({ repositories: root });
    expect((await workspace.try("ls-remote", `${url}/open`)).stdout).toContain("refs/heads/main");
    for (const name of ["closed", "missing", "open/../closed", "CON", "a/b/c/d/e/f/g/h/i"]) {
      const { status, stderr } = await workspace.try("ls-remote", `${url}/${name}`);
      expect(status).toBe(128);
      expect(stderr).toContain(`fatal: remote error: ${NOT_EXPORTED}: /${name}`);
    }
    expect((await workspace.try("ls-remote", `${url}/~ada/x`)).stderr).toContain(`${NOT_EXPORTED}: ~ada/x`);
    const archive = await workspace.try("archive", `--remote=${url}/closed`, "main");
    expect(archive.stderr).toContain(NOT_EXPORTED);
    // Pushing is off.
    const pushed = await work.try("push", `${url}/open`, "main:refs/heads/other");
    expect(pushed.stderr).toContain(`${NOT_EXPORTED}: /open`);
    expect(await workspace.in("repositories/open.git").run("for-each-ref", "--format=%(refname)")).toBe(
      "refs/heads/main",
    );
  });

  it("asks for authorization, of an anonymous caller", async () => {
    const asked: unknown[] = [];
    const { url } = await listen({
      autoCreate: "push",
      gitDaemon: { exportAll: true, receivePack: true },
      authorize: ({ identity, operation, transport, address, repository }) => {
        asked.push([identity.user, operation, transport, address, repository]);
        if (operation === "archive") return { allowed: false, reason: "no archives today" };
        if (operation === "fetch") return { allowed: false, reason: "x", answer: "hide" };
        return { allowed: true };
      },
    });
    const work = await makeWork("authorized");
    await work.run("push", "-q", `${url}/app`, "main");
    expect(asked.slice(0, 2)).toEqual([
      [undefined, "push", "git", "127.0.0.1", "app"],
      [undefined, "create", "git", "127.0.0.1", "app"],
    ]);
    expect((await workspace.try("ls-remote", `${url}/app`)).stderr).toContain(`${NOT_EXPORTED}: /app`);
    expect((await workspace.try("archive", `--remote=${url}/app`, "main")).stderr).toContain(
      "no archives today",
    );
  });

  it("lets nobody in once there are users, unless reading is free", async () => {
    const store = createMemoryRepositoryStore();
    await store.create("public/app");
    await store.create("private/app");
    const { url } = await listen({
      repositories: store,
      gitDaemon: { exportAll: true },
      authenticate: () => undefined,
      anonymousRead: ["public/**"],
    });
    expect(await workspace.try("ls-remote", `${url}/public/app`)).toMatchObject({ status: 0 });
    // There is no way to sign in, so that nobody is asked to.
    for (const name of ["private/app", "private/none"])
      expect(await workspace.try("ls-remote", `${url}/${name}`)).toMatchObject({
        status: 128,
        stderr: expect.stringContaining(`${NOT_EXPORTED}: /${name}`),
      });
  });

  it("archives only refs that the caller may see", async () => {
    const work = await makeWork("secretive");
    const root = join(workspace.directory, "secretive-root");
    await workspace.run("clone", "-q", "--bare", work.directory, join(root, "app.git"));
    await workspace.in("secretive-root/app.git").run("update-ref", "refs/heads/secret/plan", "main");
    const { url } = await listen({
      repositories: root,
      gitDaemon: { exportAll: true },
      policies: [
        { effect: "deny", operations: ["read"], refs: ["refs/heads/secret/**"] },
        { effect: "allow", operations: ["read"] },
      ],
    });
    const archive = (ref: string): ReturnType<GitClient["try"]> =>
      workspace.try("archive", `--remote=${url}/app`, "-o", "/dev/null", "--format=tar", ref);
    expect(await archive("main")).toMatchObject({ status: 0, stderr: "" });
    expect((await archive("secret/plan")).stderr).toContain("no such ref: secret/plan");
    expect((await archive("refs/heads/secret/plan")).stderr).toContain("no such ref");
  });

  it("keeps virtual hosts apart", async () => {
    const store = createMemoryRepositoryStore();
    const { url, server } = await listen({
      repositories: store,
      autoCreate: "push",
      gitDaemon: { exportAll: true, receivePack: true, interpolatedPath: "/%H/%P%D" },
    });
    const { port } = new URL(url);
    const work = await makeWork("virtual");
    await work.run("push", "-q", `git://LOCALHOST:${port}/app.git`, "main");
    const names: string[] = [];
    for await (const name of server.store.list()) names.push(name);
    expect(names).toEqual([`localhost/${port}/app`]);
    expect((await workspace.try("ls-remote", `git://127.0.0.1:${port}/app`)).stderr).toContain(NOT_EXPORTED);
    expect((await workspace.try("ls-remote", `git://localhost:${port}/app`)).status).toBe(0);
    // Without a host, as old clients have it, the path counts.
    const raw = await openRequest(url, pktLine("git-upload-pack /app"));
    expect(await raw.closed).toContain(`ERR ${NOT_EXPORTED}: /app`);
  });

  it.each([{ export: true }, { exportAll: "yes" }, { interpolatedPath: 1 }, null])(
    "does not take the options %j",
    (gitDaemon) => {
      const options = { repositories: "x", gitDaemon } as unknown as GitServerOptions;
      expect(() => createGitServer(options)).toThrow(/gitDaemon/);
    },
  );

  it.each(["%D%X", "/%H", "%"])("does not take the interpolated path %s", (interpolatedPath) => {
    expect(() => createGitServer({ repositories: "x", gitDaemon: { interpolatedPath } })).toThrow(
      /interpolated path/,
    );
  });

  it("does not listen to the world while it is open to all", async () => {
    const server = createGitServer({ repositories: createMemoryRepositoryStore() });
    servers.push(server);
    await expect(server.listen({ http: 0, git: "0.0.0.0:0" })).rejects.toThrow(
      /refusing to listen on 0.0.0.0/,
    );
  });
});

describe("a raw git:// request", () => {
  let url: string;
  let log: ServiceLogEntry[];
  const ask = async (bytes: string | Buffer): Promise<string> => {
    const request = await openRequest(url, bytes);
    request.socket.end();
    return request.closed;
  };
  const begin = async (options: Partial<GitServerOptions> = {}): Promise<GitServer> => {
    const store = createMemoryRepositoryStore();
    await store.create("app");
    const listening = await listen({ repositories: store, gitDaemon: { exportAll: true }, ...options });
    ({ url, log } = listening);
    return listening.server;
  };
  const REQUEST = "git-upload-pack /app\0host=127.0.0.1\0\0version=2\0";

  it("that ends anywhere harms nobody", async () => {
    await begin();
    const whole = `${pktLine(REQUEST)}${pktLine("command=ls-refs\n")}0000`;
    for (let length = 0; length < whole.length; length += 3) {
      const answer = await ask(whole.slice(0, length));
      if (length > 0 && length < REQUEST.length) expect(answer).toMatch(/^[0-9a-f]{4}ERR the request ends/);
    }
    expect(await ask(whole)).toContain("version 2");
    expect(log.filter(({ level }) => level === "error")).toEqual([]);
  });

  it.each([
    ["0000", "it is empty"],
    ["0001", "it is empty"],
    ["GET / HTTP/1.1\r\n\r\n", "bad line length"],
    [pktLine("git-shell /app\0"), "names no service"],
    [pktLine("git-upload-pack"), "names no service"],
    [pktLine("git-upload-pack \0host=x\0"), "names no service"],
    [pktLine("git-upload-pack app\0host=x\0"), `${NOT_EXPORTED}: app`],
    [pktLine("git-upload-pack /app\0host=x"), "does not end with NUL"],
    [pktLine("git-upload-pack /app\0host=x\0user=y\0"), "more than a host"],
    [pktLine("git-upload-pack /app\0host=a b\0"), "host cannot be one"],
    [pktLine("git-upload-pack /app\0host=[::1\0"), "host cannot be one"],
    [pktLine(`git-upload-pack /app\0host=${"h".repeat(300)}\0`), "host cannot be one"],
    [pktLine("git-upload-pack /app\0host=x\0\0a\nb\0"), "extra parameter"],
    [pktLine("git-upload-pack /a\x1b[31m\0host=x\0"), "path cannot be one"],
    [pktLine(`git-upload-pack /${"a".repeat(5000)}\0`), "path cannot be one"],
    [pktLine(`git-upload-pack /${"a".repeat(9000)}\0`), "more than 8192 bytes"],
    [pktLine("git-upload-pack /../app\0host=x\0"), `${NOT_EXPORTED}: /../app`],
    [pktLine("git-upload-pack /%2e%2e/app\0host=x\0"), NOT_EXPORTED],
    [pktLine("git-receive-pack /app\0host=x\0"), NOT_EXPORTED],
  ])("of %j is refused in one line", async (bytes, why) => {
    await begin();
    const answer = await ask(bytes);
    expect(answer).toMatch(/^[0-9a-f]{4}ERR /);
    expect(answer).toContain(why);
    expect(answer).not.toMatch(/[\x00-\x08\x1b]/);
  });

  it("that does not come is waited for no longer than the head of any request", async () => {
    await begin({ limits: { headerTimeoutMs: 50 } });
    const silent = await openRequest(url);
    expect(await silent.closed).toBe("");
    const slow = await openRequest(url, "0030git-up");
    expect(await slow.closed).toBe("");
  });

  it("whose client says nothing more is given up", async () => {
    const server = await begin({ limits: { idleTimeoutMs: 50 } });
    const request = await openRequest(url, pktLine("git-upload-pack /app\0host=x\0"));
    expect(await request.closed).toContain("no byte arrived for 0.05 seconds");
    await vi.waitFor(() => expect(server.active).toBe(0), { timeout: 20_000 });
  });

  it("whose client leaves is given up", async () => {
    const server = await begin();
    const request = await openRequest(url, pktLine(REQUEST));
    await request.seen(/version 2/);
    expect(server.active).toBe(1);
    request.socket.resetAndDestroy();
    await request.closed;
    await vi.waitFor(() => expect(server.active).toBe(0), { timeout: 20_000 });
  });

  it("is one of so many", async () => {
    await begin({ limits: { connectionsMax: 2 } });
    const held: OpenRequest[] = [];
    for (let i = 0; i < 2; i++) {
      const request = await openRequest(url, pktLine(REQUEST));
      await request.seen(/version 2/);
      held.push(request);
    }
    const third = await openRequest(url, pktLine(REQUEST));
    expect(await third.closed).toBe("");
    for (const request of held) request.write("0000");
    for (const request of held) expect(await request.closed).toContain("0000");
  });

  it("comes from where a listed balancer says", async () => {
    const addresses: unknown[] = [];
    const server = createGitServer({
      repositories: createMemoryRepositoryStore(),
      trustedProxies: ["127.0.0.1"],
      gitDaemon: { exportAll: true },
      log: () => undefined,
      authorize: ({ address }) => {
        addresses.push(address);
        return { allowed: true };
      },
    });
    servers.push(server);
    const { git } = await server.listen({ http: 0, git: 0, proxyProtocol: ["git"] });
    url = git?.url ?? "";
    expect(await ask(`PROXY TCP4 192.0.2.7 192.0.2.1 4000 9418\r\n${pktLine(REQUEST)}`)).toContain(
      NOT_EXPORTED,
    );
    expect(addresses).toEqual(["192.0.2.7"]);
    expect(await ask(pktLine(REQUEST))).toBe("");
  });

  it("that is at work is let finish when the server closes; one that has asked nothing is not waited for", async () => {
    const server = await begin();
    const silent = await openRequest(url);
    const working = await openRequest(url, pktLine(REQUEST));
    await working.seen(/version 2/);
    const closed = server.close();
    expect(await silent.closed).toBe("");
    working.write(`${pktLine("command=ls-refs\n")}0000`);
    await working.seen(/0000.*0000$/s);
    working.write("0000");
    await working.closed;
    await closed;
  });
});
