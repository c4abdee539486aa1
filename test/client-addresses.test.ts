/** Whose address counts: behind proxies that are listed, and for those who pretend to be one. */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createGitServer, type GitServer, type Listening } from "../src/server/git-server.js";
import type { GitServerOptions, ListenOptions } from "../src/server/git-server-options.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { type Balancer, proxyHead, startBalancer } from "./support/balancer.js";
import { writeCertificate } from "./support/certificate.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { converse, send } from "./support/raw-http.js";
import { createSshClient } from "./support/ssh-client.js";
import { makeSshKey } from "./support/ssh-keygen.js";

const DISCOVERY = "/app.git/info/refs?service=git-upload-pack";
const CLIENT = "198.51.100.77";

let workspace: GitClient;
let app: GitClient;
let server: GitServer;
let balancers: Balancer[];
/** `authorize` was asked about. */
let addresses: Set<string | undefined>;

beforeEach(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  // More than one packet.
  writeFileSync(join(app.directory, "noise"), randomBytes(300_000));
  await app.run("add", ".");
  await app.run("commit", "-q", "-m", "one");
  balancers = [];
  addresses = new Set();
});
afterEach(async () => {
  for (const balancer of balancers) balancer.close();
  await server.close({ graceMs: 0 });
  removeDirectory(workspace);
});

function serve(options: Partial<GitServerOptions>, listen: Partial<ListenOptions> = {}): Promise<Listening> {
  server = createGitServer({
    repositories: createMemoryRepositoryStore(),
    autoCreate: "push",
    log: () => undefined,
    authorize: ({ address }) => {
      addresses.add(address);
      return { allowed: true };
    },
    ...options,
  });
  return server.listen({ http: 0, ...listen });
}

async function balance(port: number, pieces: readonly Buffer[]): Promise<number> {
  const balancer = await startBalancer(port, pieces);
  balancers.push(balancer);
  return balancer.port;
}

describe("X-Forwarded-For", () => {
  it("of a listed proxy tells where git calls from", async () => {
    const { http } = await serve({ trustedProxies: ["loopback"] });
    const said = ["-c", `http.extraHeader=X-Forwarded-For: 203.0.113.5, ${CLIENT}`];
    await app.run(...said, "push", "-q", `${http.url}/app.git`, "main");
    await workspace.run(...said, "clone", "-q", `${http.url}/app.git`, "copy");
    expect([...addresses]).toEqual([CLIENT]);
  });

  it.each([{}, { trustedProxies: ["10.0.0.0/8"] }])(
    "of anybody else is as if it were not there: %o",
    async (options) => {
      const { http } = await serve(options);
      await send(http.url + DISCOVERY, { headers: { "X-Forwarded-For": CLIENT } });
      expect([...addresses]).toEqual(["127.0.0.1"]);
    },
  );

  it("does not make a listed proxy of a client that says it is one", async () => {
    const { http } = await serve({
      trustedProxies: ["loopback"],
      trustedUserHeader: { header: "X-User", proxies: ["10.0.0.0/8"] },
    });
    await send(http.url + DISCOVERY, { headers: { "X-Forwarded-For": "10.0.0.5", "X-User": "root" } });
    expect([...addresses]).toEqual(["10.0.0.5"]);
  });
});

describe("the PROXY protocol", () => {
  it.each([1, 2] as const)("of version %s tells where git calls from, over HTTP", async (version) => {
    const { http } = await serve({ trustedProxies: ["127.0.0.1"] }, { proxyProtocol: ["http"] });
    const port = await balance(http.port, [proxyHead(version, CLIENT)]);
    await app.run("push", "-q", `http://127.0.0.1:${port}/app.git`, "main");
    await workspace.run("clone", "-q", `http://127.0.0.1:${port}/app.git`, "copy");
    expect(await workspace.in("copy").run("rev-parse", "HEAD")).toBe(await app.run("rev-parse", "HEAD"));
    expect([...addresses]).toEqual([CLIENT]);
  });

  it.each(["HTTP/1.1", "HTTP/2"])("is there below TLS and %s", async (version) => {
    const tls = await writeCertificate(workspace.directory, "localhost");
    const { http } = await serve({ trustedProxies: ["127.0.0.1"] }, { tls, proxyProtocol: ["http"] });
    const port = await balance(http.port, [proxyHead(2, CLIENT)]);
    const config = ["-c", "http.sslVerify=false", "-c", `http.version=${version}`];
    await app.run(...config, "push", "-q", `https://127.0.0.1:${port}/app.git`, "main");
    await workspace.run(...config, "clone", "-q", `https://127.0.0.1:${port}/app.git`, "copy");
    expect([...addresses]).toEqual([CLIENT]);
  });

  it("is there below SSH", async () => {
    const { ssh } = await serve(
      { trustedProxies: ["127.0.0.1"], authenticate: () => ({ user: "ada" }) },
      { ssh: 0, proxyProtocol: ["ssh"] },
    );
    const port = await balance(ssh?.port ?? 0, [proxyHead(1, CLIENT)]);
    const { directory } = workspace;
    const keys = [makeSshKey(directory, "id").path];
    const { environment: env } = createSshClient({ directory, port, keys });
    const pushed = await app.tryWith({ env }, "push", "-q", `ssh://git@127.0.0.1:${port}/app.git`, "main");
    expect(pushed).toMatchObject({ status: 0, stderr: "" });
    expect([...addresses]).toEqual([CLIENT]);
  });

  it("may come in pieces, and together with what follows", async () => {
    const { http } = await serve({ trustedProxies: ["127.0.0.1"] }, { proxyProtocol: ["http"] });
    const head = proxyHead(2, CLIENT);
    const request = `GET ${DISCOVERY} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
    const whole = await converse(http.url, Buffer.concat([head, Buffer.from(request)]));
    expect(whole).toMatch(/^HTTP\/1\.1 404 /);
    const port = await balance(
      http.port,
      [...head].map((byte) => Buffer.from([byte])),
    );
    expect((await send(`http://127.0.0.1:${port}${DISCOVERY}`)).status).toBe(404);
    expect([...addresses]).toEqual([CLIENT]);
  });

  it("counts the balancer where it speaks for itself, as for a health check", async () => {
    const { http } = await serve({ trustedProxies: ["127.0.0.1"] }, { proxyProtocol: ["http"] });
    const port = await balance(http.port, [Buffer.from("0d0a0d0a000d0a515549540a20000000", "hex")]);
    expect((await send(`http://127.0.0.1:${port}${DISCOVERY}`)).status).toBe(404);
    expect([...addresses]).toEqual(["127.0.0.1"]);
  });

  it("is believed before X-Forwarded-For", async () => {
    const { http } = await serve({ trustedProxies: ["127.0.0.1"] }, { proxyProtocol: ["http"] });
    const port = await balance(http.port, [proxyHead(1, CLIENT)]);
    await send(`http://127.0.0.1:${port}${DISCOVERY}`, { headers: { "X-Forwarded-For": "203.0.113.5" } });
    expect([...addresses]).toEqual([CLIENT]);
  });

  it("is required where it is asked for", async () => {
    const { http } = await serve({ trustedProxies: ["127.0.0.1"] }, { proxyProtocol: ["http"] });
    expect(await converse(http.url, `GET ${DISCOVERY} HTTP/1.1\r\nHost: localhost\r\n\r\n`)).toBe("");
    expect([...addresses]).toEqual([]);
  });

  it("is heard from listed addresses only", async () => {
    const { http } = await serve({ trustedProxies: ["10.0.0.0/8"] }, { proxyProtocol: ["http"] });
    const port = await balance(http.port, [proxyHead(1, CLIENT)]);
    await expect(send(`http://127.0.0.1:${port}${DISCOVERY}`)).rejects.toThrow();
    expect([...addresses]).toEqual([]);
  });

  it("is not spoken where it is not asked for", async () => {
    const { http } = await serve({ trustedProxies: ["127.0.0.1"] });
    expect(await converse(http.url, proxyHead(1, CLIENT))).toMatch(/^(?:HTTP\/1\.1 400 |$)/);
    expect([...addresses]).toEqual([]);
  });

  it("is not waited for without end", async () => {
    const { http } = await serve(
      { trustedProxies: ["127.0.0.1"], limits: { headerTimeoutMs: 50 } },
      { proxyProtocol: ["http"] },
    );
    expect(await converse(http.url, "PROXY TCP4", 20_000)).toBe("");
  });

  it.each<[Partial<GitServerOptions>, unknown, RegExp]>([
    [{}, ["http"], /needs the addresses that may speak it/],
    [{ trustedProxies: ["10.0.0.0/8"] }, true, /proxyProtocol is a list of listeners/],
    [{ trustedProxies: ["10.0.0.0/8"] }, ["ftp"], /proxyProtocol is a list of listeners/],
  ])("is refused where it cannot be had: %o, %o", async (options, proxyProtocol, message) => {
    const listening = serve(options, { proxyProtocol: proxyProtocol as ["http"] });
    await expect(listening).rejects.toThrow(message);
  });
});
