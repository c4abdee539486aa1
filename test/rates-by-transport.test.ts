/**
 * Each rate at its limit and one past it, over each transport that it is for: who is refused reads why, and no work is
 * done for him.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RateOptions, Rates } from "../src/access/rates/rates.js";
import { createGitServer, type GitServer, type Listening } from "../src/server/git-server.js";
import type { GitServerOptions, ListenOptions } from "../src/server/git-server-options.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { proxyHead, startBalancer } from "./support/balancer.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { openRequest, postHead } from "./support/open-request.js";
import { pktLine, send } from "./support/raw-http.js";
import { pushOfBlob, RECEIVE_PACK_TYPE } from "./support/raw-push.js";
import { createSshClient, type SshClient } from "./support/ssh-client.js";
import { makeSshKey } from "./support/ssh-keygen.js";

const HOUR = 3600;
type Transport = "http" | "ssh" | "git";

let workspace: GitClient;
let app: GitClient;
let server: GitServer | undefined;
let listening: Listening;
let env: NodeJS.ProcessEnv;
let sockets: Socket[];
let children: ChildProcess[];
/** How often anybody was asked who that is, and what they may do. */
let asked: number;
let pushes: number;

beforeEach(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "one");
  sockets = [];
  children = [];
  asked = 0;
  pushes = 0;
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  for (const child of children) child.kill();
  await server?.close({ graceMs: 0 });
  server = undefined;
  removeDirectory(workspace);
});

async function serve(
  rates: RateOptions,
  options: Partial<GitServerOptions> = {},
  listen: Partial<ListenOptions> = {},
): Promise<void> {
  const store = createMemoryRepositoryStore();
  await (await store.create("app")).close();
  server = createGitServer({
    repositories: store,
    gitDaemon: { exportAll: true, receivePack: true },
    log: () => undefined,
    rates: { exempt: [], ...rates },
    authenticate: () => {
      asked++;
      return { user: "ada", credentialId: "key-1" };
    },
    authorize: () => {
      asked++;
      return { allowed: true };
    },
    ...options,
  });
  listening = await server.listen({ http: 0, ssh: 0, git: 0, ...listen });
  const port = listening.ssh?.port ?? 0;
  const keys = [makeSshKey(workspace.directory, `key${port}`).path];
  env = createSshClient({ directory: workspace.directory, port, keys }).environment;
}

const urlOf = (transport: Transport): string =>
  transport === "ssh"
    ? `ssh://git@127.0.0.1:${listening.ssh?.port}/app.git`
    : `${(transport === "http" ? listening.http : listening.git)?.url}/app.git`;

const AUTHORIZATION = { Authorization: `Basic ${Buffer.from("ada:x").toString("base64")}` };

/** One request or one push. @returns what was said to who was refused */
async function ask(transport: Transport, what: "read" | "push", port?: number): Promise<string | undefined> {
  const url = port === undefined ? urlOf(transport) : urlOf(transport).replace(/:\d+\//, `:${port}/`);
  if (transport === "http") {
    const { status, body, headers } =
      what === "read"
        ? await send(`${url}/info/refs?service=git-upload-pack`, { headers: AUTHORIZATION })
        : await send(`${url}/git-receive-pack`, {
            headers: { ...AUTHORIZATION, "Content-Type": RECEIVE_PACK_TYPE },
            body: pushOfBlob(`tag-${pushes++}`, "x"),
          });
    if (status === 200) return undefined;
    expect([status, Number(headers["retry-after"])]).toEqual([429, expect.any(Number)]);
    expect(Number(headers["retry-after"])).toBeGreaterThan(0);
    return body.toString();
  }
  const { status, stderr } =
    what === "read"
      ? await app.tryWith({ env }, "ls-remote", url)
      : await app.tryWith({ env }, "push", "-q", url, `main:b${pushes++}`);
  return status === 0 ? undefined : stderr;
}

type Counted = Exclude<
  keyof Rates,
  "failuresPerAddress" | "failuresPerAddressAndUser" | "keyFailuresPerAddress"
>;
const ROWS: readonly (readonly [Counted, "read" | "push", RegExp])[] = [
  ["requestsPerAddress", "read", /too many requests from your address; try again in \d+ seconds/],
  ["requestsPerUser", "read", /too many requests from you; try again in \d+ seconds/],
  ["requestsPerKey", "read", /too many requests from this key or token; try again in \d+ seconds/],
  ["pushesPerAddress", "push", /too many pushes from your address; try again in \d+ seconds/],
  ["pushesPerUser", "push", /too many pushes from you; try again in \d+ seconds/],
  ["pushesPerKey", "push", /too many pushes from this key or token; try again in \d+ seconds/],
];
const BYTES: readonly (readonly [Counted, RegExp])[] = [
  ["bytesPerAddress", /too many bytes from your address; try again in \d+ seconds/],
  ["bytesPerUser", /too many bytes from you; try again in \d+ seconds/],
  ["bytesPerKey", /too many bytes from this key or token; try again in \d+ seconds/],
];

/** Over git:// there are no users and keys. */
const transportsOf = (rate: string): readonly Transport[] =>
  rate.endsWith("PerAddress") ? ["http", "ssh", "git"] : ["http", "ssh"];
const COUNTS = ROWS.flatMap(([rate, what, text]) =>
  transportsOf(rate).map((transport) => ({ rate, transport, what, text })),
);
const BYTE_COUNTS = BYTES.flatMap(([rate, text]) =>
  transportsOf(rate).map((transport) => ({ rate, transport, text })),
);

describe("a rate", () => {
  it.each(COUNTS)(
    "$rate over $transport holds at its limit and not past it",
    async ({ rate, transport, what, text }) => {
      await serve({ [rate]: { max: 2, seconds: HOUR } });
      expect([await ask(transport, what), await ask(transport, what)]).toEqual([undefined, undefined]);
      const before = asked;
      expect(await ask(transport, what)).toMatch(text);
      // To know user and key, SSH has to let them sign in, and HTTP to look at what came.
      const signIns = rate === "requestsPerAddress" && transport !== "ssh" ? 0 : 1;
      expect(asked - before).toBeLessThanOrEqual(signIns);
      if (what === "push") expect(await ask(transport, "read")).toBeUndefined();
    },
  );

  it.each(BYTE_COUNTS)(
    "$rate over $transport lets a transfer end, and none begin after it",
    async ({ rate, transport, text }) => {
      await serve({ [rate]: { max: 1, seconds: HOUR } });
      expect(await ask(transport, "push")).toBeUndefined();
      expect(await ask(transport, "push")).toMatch(text);
      expect(await ask(transport, "read")).toMatch(text);
    },
  );

  it("of bytes counts refs and plain files as well", async () => {
    for (const path of ["/info/refs?service=git-upload-pack", "/info/refs", "/HEAD"]) {
      await serve({ bytesPerAddress: { max: 1, seconds: HOUR } }, { repositories: await withOneRef() });
      const url = `${urlOf("http")}${path}`;
      expect([path, (await send(url, { headers: AUTHORIZATION })).status]).toEqual([path, 200]);
      expect([path, (await send(url, { headers: AUTHORIZATION })).status]).toEqual([path, 429]);
      await server?.close({ graceMs: 0 });
    }
  });

  it("of git:// refuses raw requests alike, before it is looked whether there is such a repository", async () => {
    await serve({ requestsPerAddress: { max: 1, seconds: HOUR } });
    const raw = async (name: string): Promise<string> => {
      const request = await openRequest(urlOf("git"), pktLine(`git-upload-pack /${name}\0host=localhost\0`));
      request.socket.end("0000");
      return request.closed;
    };
    expect(await raw("app.git")).toContain("capabilities^{}");
    const before = asked;
    for (const name of ["app.git", "nothing", "../x", "."])
      expect(await raw(name)).toContain("ERR too many requests from your address");
    expect(asked).toBe(before);
  });
});

describe("the connections that are held at once", () => {
  /** Until the answer is called: an SSH connection that is signed in, or a request whose body does not come. */
  async function hold(transport: "http" | "ssh"): Promise<() => void> {
    if (transport === "http") {
      const before = asked;
      const headers = [`Authorization: ${AUTHORIZATION.Authorization}`];
      const head = postHead("git-upload-pack", { length: 100, headers });
      const { socket } = await openRequest(listening.http.url, head);
      sockets.push(socket);
      // Who it is, and what he may do.
      await expect.poll(() => asked, { timeout: 20_000 }).toBe(before + 2);
      return () => void socket.destroy();
    }
    const args = [...sshClient().arguments, "-p", String(listening.ssh?.port), "git@127.0.0.1"];
    const child = spawn("ssh", [...args, "git-upload-pack '/app.git'"], {
      stdio: ["pipe", "pipe", "ignore"],
      env: { PATH: process.env["PATH"], HOME: workspace.directory },
    });
    children.push(child);
    await once(child.stdout, "data");
    return () => void child.kill();
  }

  const sshClient = (): SshClient => {
    const port = listening.ssh?.port ?? 0;
    const keys = [join(workspace.directory, `key${port}`)];
    // What a server says while one signs in is shown at this level, which is ssh's own default.
    return createSshClient({ directory: workspace.directory, port, keys, options: ["LogLevel=INFO"] });
  };

  it.each([
    ["connectionsPerUser", "http", "you"],
    ["connectionsPerUser", "ssh", "you"],
    ["connectionsPerKey", "http", "this key or token"],
    ["connectionsPerKey", "ssh", "this key or token"],
  ] as const)(
    "%s: those over %s count, and one too many is refused everywhere",
    async (limit, door, whose) => {
      await serve({ [limit]: 2 });
      await hold("http");
      // There is room for one.
      expect(await ask("http", "read")).toBeUndefined();
      const end = await hold(door);
      const text = `too many connections from ${whose}; try again in 5 seconds`;
      expect(await ask("http", "read")).toContain(text);
      expect((await sshClient().ssh(["git@127.0.0.1", "git-upload-pack '/app.git'"])).stderr).toContain(text);
      // Nobody has signed in there.
      expect(await ask("git", "read")).toBeUndefined();
      end();
      await expect.poll(() => ask("http", "read"), { timeout: 20_000 }).toBeUndefined();
      await expect.poll(() => ask("ssh", "read"), { timeout: 20_000 }).toBeUndefined();
    },
  );
});

describe("an address", () => {
  const one: RateOptions = { requestsPerAddress: { max: 1, seconds: HOUR } };

  it("is what the last unlisted hop of X-Forwarded-For is: an IPv6 network, IPv4 in IPv6, no word of a client", async () => {
    await serve(one, { trustedProxies: ["loopback", "10.0.0.0/8", "fd00::/8"] });
    const from = async (forwarded: string): Promise<number> => {
      const headers = { ...AUTHORIZATION, "X-Forwarded-For": forwarded };
      return (await send(`${urlOf("http")}/info/refs?service=git-upload-pack`, { headers })).status;
    };
    expect(await from("198.51.100.7")).toBe(200);
    // The same, however it is written, through more proxies, behind what the client itself has put there.
    for (const same of [
      "198.51.100.7:4711",
      "::ffff:198.51.100.7",
      "[::ffff:c633:6407]:80",
      "198.51.100.7, 10.1.1.1, fd00::5",
      "203.0.113.9, 198.51.100.7",
      "unknown, 198.51.100.7",
      " 198.51.100.7 ,10.9.9.9",
    ])
      expect([same, await from(same)]).toEqual([same, 429]);
    expect(await from("203.0.113.9")).toBe(200);
    expect(await from("2001:db8:1:2::1")).toBe(200);
    expect(await from("[2001:db8:1:2:ffff::9]:443")).toBe(429);
    expect(await from("2001:db8:1:3::1")).toBe(200);
    // What is no address is the word of the proxy that passed it on.
    expect(await from("nonsense")).toBe(200);
    for (const odd of ["", "1.2.3", "999.1.1.1", "198.51.100.7.example.org", "<script>", "3325256711"])
      expect([odd, await from(odd)]).toEqual([odd, 429]);
  });

  it.each(
    [1, 2].flatMap((version) =>
      (["http", "ssh", "git"] as const).map((transport) => [version, transport]),
    ) as [1 | 2, Transport][],
  )("is what version %i of the PROXY protocol tells, over %s", async (version, transport) => {
    await serve(one, { trustedProxies: ["loopback"] }, { proxyProtocol: [transport] });
    const balancers = [];
    for (const [source, isFirst] of [
      ["198.51.100.7", true],
      ["198.51.100.7", false],
      ["198.51.100.8", true],
    ] as const) {
      const balancer = await startBalancer(listening[transport]?.port ?? 0, [proxyHead(1, source)]);
      balancers.push(balancer);
      const answer = await ask(transport, "read", balancer.port);
      if (isFirst) expect(answer).toBeUndefined();
      else expect(answer).toContain("too many requests from your address");
    }
    for (const balancer of balancers) balancer.close();
  });

  it.each(["http", "ssh", "git"] as const)(
    "over %s is nobody's for a client that writes a head unasked",
    async (transport) => {
      await serve({});
      const request = await openRequest(
        `tcp://127.0.0.1:${listening[transport]?.port}`,
        proxyHead(1, "198.51.100.7"),
      );
      request.socket.end();
      expect(await request.closed).not.toContain("200 OK");
      expect(await ask(transport, "read")).toBeUndefined();
    },
  );
});

async function withOneRef(): Promise<ReturnType<typeof createMemoryRepositoryStore>> {
  const store = createMemoryRepositoryStore();
  const made = createGitServer({ repositories: store, autoCreate: "push", log: () => undefined });
  const { http } = await made.listen({ http: 0 });
  await app.run("push", "-q", `${http.url}/app.git`, "main");
  await made.close();
  return store;
}

describe("keyFailuresPerAddress", () => {
  it("lets keys be tried so often, then tells why none is looked at any more", async () => {
    const { directory } = workspace;
    const good = makeSshKey(directory, "good");
    const bad = makeSshKey(directory, "bad");
    await serve(
      { keyFailuresPerAddress: { max: 3, seconds: HOUR } },
      {
        authenticate: (credentials) => {
          asked++;
          return "line" in credentials && credentials.line === good.line.split(" ", 2).join(" ")
            ? { user: "ada" }
            : undefined;
        },
      },
    );
    const port = listening.ssh?.port ?? 0;
    const options = ["LogLevel=INFO"];
    const greet = (key: string) =>
      createSshClient({ directory, port, keys: [key], options }).ssh(["git@127.0.0.1"]);
    expect((await greet(good.path)).stderr).toContain("hello ada");
    asked = 0;
    for (let i = 0; i < 3; i++) expect((await greet(bad.path)).stderr).toContain("Permission denied");
    expect(asked).toBe(3);
    const refused = await greet(bad.path);
    expect(refused.stderr).toMatch(/gitwharf: too many failed attempts to sign in; try again in \d+ seconds/);
    expect(refused.status).toBe(255);
    expect((await greet(good.path)).stderr).toContain("too many failed attempts");
    expect(asked).toBe(3);
    // Passwords are another matter.
    const { status } = await send(`${urlOf("http")}/info/refs?service=git-upload-pack`, {
      headers: AUTHORIZATION,
    });
    expect([status, asked]).toEqual([401, 4]);
  });
});

describe("connectionsPerAddress", () => {
  it.each<Transport>(["http", "ssh", "git"])(
    "over %s closes one more, before a byte of it is read",
    async (transport) => {
      await serve({ connectionsPerAddress: 2 });
      const port = listening[transport]?.port ?? 0;
      const open = async (): Promise<Socket> => {
        const socket = connect(port, "127.0.0.1");
        socket.on("error", () => undefined);
        sockets.push(socket);
        await once(socket, "connect");
        return socket;
      };
      const kept = [await open(), await open()];
      const third = await open();
      const bytes: Buffer[] = [];
      third.on("data", (chunk: Buffer) => bytes.push(chunk));
      await once(third, "close");
      expect(bytes).toEqual([]);
      expect(kept.map(({ destroyed }) => destroyed)).toEqual([false, false]);
      // A place is free again once the server has seen the end of one.
      for (const socket of kept) socket.destroy();
      let refused: string | undefined = "";
      for (let i = 0; i < 2000 && refused !== undefined; i++)
        refused = await ask(transport, "read").catch(() => "closed");
      expect(refused).toBeUndefined();
    },
  );

  it.each<Transport>(["http", "ssh", "git"])(
    "over %s is for those behind a balancer, one by one",
    async (transport) => {
      await serve(
        { connectionsPerAddress: 1 },
        { trustedProxies: ["127.0.0.1"] },
        { proxyProtocol: [transport] },
      );
      const port = listening[transport]?.port ?? 0;
      const open = async (source: string): Promise<Socket> => {
        const socket = connect(port, "127.0.0.1");
        socket.on("error", () => undefined);
        sockets.push(socket);
        await once(socket, "connect");
        socket.write(proxyHead(1, source));
        return socket;
      };
      const first = await open("198.51.100.7");
      const other = await open("198.51.100.8");
      const second = await open("198.51.100.7");
      second.resume();
      // Which of the two of the same address came first is the system's to say.
      await Promise.race([once(second, "close"), once(first.resume(), "close")]);
      expect([first.destroyed, second.destroyed].filter(Boolean)).toHaveLength(1);
      expect(other.destroyed).toBe(false);
    },
  );

  it("is no limit for listed proxies", async () => {
    await serve({ connectionsPerAddress: 1 }, { trustedProxies: ["127.0.0.1"] });
    for (const transport of ["http", "git"] as const) {
      for (let i = 0; i < 3; i++) {
        const socket = connect(listening[transport]?.port ?? 0, "127.0.0.1");
        sockets.push(socket);
        await once(socket, "connect");
      }
      expect(await ask(transport, "read")).toBeUndefined();
    }
  });
});

describe("connectionsMax", () => {
  it.each<Transport>(["ssh", "git"])("over %s closes one more", async (transport) => {
    await serve({}, { limits: { connectionsMax: 1 } });
    const port = listening[transport]?.port ?? 0;
    const first = connect(port, "127.0.0.1");
    sockets.push(first);
    await once(first, "connect");
    const second = connect(port, "127.0.0.1");
    second.on("error", () => undefined).resume();
    await once(second, "close");
    expect(first.destroyed).toBe(false);
  });
});
