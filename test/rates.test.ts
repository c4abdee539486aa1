/** Who asks too often is refused, with a text that the real client shows; others are not. */
import { connect, type Socket } from "node:net";
import { once } from "node:events";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import type { RateOptions } from "../src/access/rates/rates.js";
import { createGitServer, type GitServer, type Listening } from "../src/server/git-server.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { send } from "./support/raw-http.js";
import { pushOfBlob, RECEIVE_PACK_TYPE } from "./support/raw-push.js";
import { createSshClient } from "./support/ssh-client.js";
import { makeSshKey } from "./support/ssh-keygen.js";

const HOUR = 3600;
const DISCOVERY = "/app.git/info/refs?service=git-upload-pack";

let workspace: GitClient;
let app: GitClient;
let server: GitServer;
let sockets: Socket[];
/** How often credentials were checked. */
let checked: number;

beforeEach(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "one");
  sockets = [];
  checked = 0;
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await server.close({ graceMs: 0 });
  removeDirectory(workspace);
});

/** Anybody signs in by the password `right` or a key; addresses are told by X-Forwarded-For. */
function serve(rates: RateOptions, options: Partial<GitServerOptions> = {}): Promise<Listening> {
  server = createGitServer({
    repositories: createMemoryRepositoryStore(),
    autoCreate: "push",
    log: () => undefined,
    trustedProxies: ["loopback"],
    rates,
    authenticate: (credentials) => {
      checked++;
      if (credentials.kind === "basic")
        return credentials.password === "right" ? { user: credentials.user } : undefined;
      return { user: "ada" };
    },
    ...options,
  });
  return server.listen({ http: 0, ssh: 0 });
}

function from(address: string, user: string, password: string): Record<string, string> {
  const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
  return { "X-Forwarded-For": address, Authorization: authorization };
}

function as(address: string, user = "ada"): string[] {
  return Object.entries(from(address, user, "right")).flatMap(([name, value]) => [
    "-c",
    `http.extraHeader=${name}: ${value}`,
  ]);
}

describe("rates over HTTP", () => {
  it("stop who guesses passwords, before they are checked, and nobody else", async () => {
    const { http } = await serve({ failuresPerAddressAndUser: { max: 5, seconds: HOUR } });
    await app.run(...as("192.0.2.1"), "push", "-q", `${http.url}/app.git`, "main");
    const statuses: number[] = [];
    checked = 0;
    for (let i = 0; i < 300; i++) {
      const headers = from("192.0.2.7", "ada", `guess ${i}`);
      statuses.push((await send(http.url + DISCOVERY, { headers })).status);
    }
    expect(statuses.slice(0, 6)).toEqual([401, 401, 401, 401, 401, 429]);
    expect(new Set(statuses.slice(5))).toEqual(new Set([429]));
    expect(checked).toBe(5);
    const stopped = await send(http.url + DISCOVERY, { headers: from("192.0.2.7", "ada", "right") });
    expect(stopped.status).toBe(429);
    expect(Number(stopped.headers["retry-after"])).toBeGreaterThan(0);
    expect(Number(stopped.headers["retry-after"])).toBeLessThanOrEqual(HOUR);
    await workspace.run(...as("192.0.2.8"), "clone", "-q", `${http.url}/app.git`, "innocent");
    await workspace.run(...as("192.0.2.7", "bob"), "clone", "-q", `${http.url}/app.git`, "neighbour");
  });

  it("tell who asks too often what happened, in git's own output", async () => {
    const { http } = await serve({ requestsPerAddress: { max: 1, seconds: HOUR } });
    await send(http.url + DISCOVERY, { headers: { "X-Forwarded-For": "192.0.2.7" } });
    const refused = await workspace.try(...as("192.0.2.7"), "ls-remote", `${http.url}/app.git`);
    expect(refused.stderr).toMatch(/remote: too many requests from your address; try again in \d+ seconds/);
    expect(refused.stderr).toContain("429");
    expect(refused.status).toBe(128);
  });

  it("let a user push so often, by git and by raw requests that skip the discovery", async () => {
    const { http } = await serve({ pushesPerUser: { max: 2, seconds: HOUR } });
    await app.run(...as("192.0.2.7"), "push", "-q", `${http.url}/app.git`, "main");
    await app.run(...as("192.0.2.8"), "push", "-q", `${http.url}/app.git`, "main:next");
    const refused = await app.try(...as("192.0.2.9"), "push", "-q", `${http.url}/app.git`, "main:third");
    expect(refused.stderr).toMatch(/remote: too many pushes from you; try again in \d+ seconds/);
    const headers = { ...from("192.0.2.9", "ada", "right"), "Content-Type": RECEIVE_PACK_TYPE };
    const body = pushOfBlob("raw", "raw");
    const raw = await send(`${http.url}/app.git/git-receive-pack`, { headers, body });
    expect(raw.status).toBe(429);
    const refs = await workspace.run(...as("192.0.2.9"), "ls-remote", `${http.url}/app.git`);
    expect(refs).toContain("refs/heads/next");
    expect(refs).not.toMatch(/third|raw/);
  });

  it("count the bytes of fetches and pushes", async () => {
    // More than the list of no refs, less than that and the push.
    const { http } = await serve({ bytesPerUser: { max: 400, seconds: HOUR } });
    await app.run(...as("192.0.2.7"), "push", "-q", `${http.url}/app.git`, "main");
    const refused = await workspace.try(...as("192.0.2.7"), "clone", "-q", `${http.url}/app.git`, "copy");
    expect(refused.stderr).toMatch(/remote: too many bytes from you/);
    await workspace.run(...as("192.0.2.7", "bob"), "ls-remote", `${http.url}/app.git`);
  });

  it("count the bytes of plain files", async () => {
    const { http } = await serve(
      { bytesPerUser: { max: 300, seconds: HOUR } },
      {
        repositories: `${workspace.directory}/served`,
        durability: "none",
        sshServer: { hostKeyDirectory: inject("hostKeyDirectory") },
      },
    );
    await app.run(...as("192.0.2.7", "bob"), "push", "-q", `${http.url}/app.git`, "main");
    const get = (path: string) =>
      send(`${http.url}/app.git/${path}`, { headers: from("192.0.2.7", "ada", "right") });
    const packs = await get("objects/info/packs");
    const pack = /pack-[0-9a-f]+\.pack/.exec(packs.body.toString("latin1"))?.[0];
    for (let i = 0; i < 2; i++) expect((await get(`objects/pack/${pack}`)).status).toBe(200);
    expect((await get("HEAD")).status).toBe(429);
  });

  it("close what an address opens beyond its connections", async () => {
    const { http, ssh } = await serve({ connectionsPerAddress: 2, exempt: [] }, { trustedProxies: [] });
    for (const port of [http.port, ssh?.port ?? 0]) {
      const open = async (): Promise<Socket> => {
        const socket = connect(port, "127.0.0.1");
        socket.on("error", () => undefined);
        sockets.push(socket);
        await once(socket, "connect");
        return socket;
      };
      const [first, second] = [await open(), await open()];
      const third = await open();
      third.resume();
      await once(third, "close");
      expect([first.destroyed, second.destroyed]).toEqual([false, false]);
      first.destroy();
      second.destroy();
    }
    // The places are free again once the server has seen the ends.
    let answered = false;
    for (let i = 0; i < 2000 && !answered; i++)
      answered = await send(http.url + DISCOVERY).then(
        ({ status }) => status === 401,
        () => false,
      );
    expect(answered).toBe(true);
  });

  it("are not there as long as the server is open to its own machine", async () => {
    const { http } = await serve(
      { requestsPerAddress: { max: 0, seconds: HOUR }, exempt: [] },
      { authenticate: undefined as never },
    );
    await app.run("push", "-q", `${http.url}/app.git`, "main");
  });
});

describe("rates over SSH", () => {
  it("are told on standard error, with exit status 1", async () => {
    const { ssh } = await serve({ requestsPerUser: { max: 1, seconds: HOUR } });
    const { directory } = workspace;
    const port = ssh?.port ?? 0;
    const client = createSshClient({ directory, port, keys: [makeSshKey(directory, "id").path] });
    const env = client.environment;
    const url = `ssh://git@127.0.0.1:${port}/app.git`;
    expect(await app.tryWith({ env }, "push", "-q", url, "main")).toMatchObject({ status: 0 });
    const refused = await workspace.tryWith({ env }, "clone", "-q", url, "copy");
    expect(refused.stderr).toMatch(/gitwharf: too many requests from you; try again in \d+ seconds/);
    const bare = await client.ssh(["git@127.0.0.1", "git-upload-pack 'app.git'"]);
    expect(bare).toMatchObject({ status: 1, stdout: "" });
  });
});
