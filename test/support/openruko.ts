/**
 * Stand-ins for Openruko's API server and for a dyno host, whose dynos run git itself behind TLS, and a gitwharf between
 * them and real clients. A test may put another behaviour in place of either.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { createServer as createHttpsServer } from "node:https";
import { join } from "node:path";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import { generate } from "selfsigned";
import type { OpenrukoOptions } from "../../src/access/openruko/openruko-options.js";
import { createGitServer, type GitServer } from "../../src/server/git-server.js";
import type { GitServerOptions } from "../../src/server/git-server-options.js";
import { createMemoryRepositoryStore } from "../../src/storage/memory/memory-repository-store.js";
import type { ServiceLogEntry } from "../../src/transport/service-host.js";
import { createGitClient, type GitClient } from "./git-client.js";
import { createSshClient, type SshClient } from "./ssh-client.js";
import { makeSshKey, type SshKeyFile } from "./ssh-keygen.js";

export const SERVER_KEY = "the-key-of-the-front-door";
/** What certificates of the dyno host are for. */
export const DYNO_NAME = "dyno.test";

export interface Person extends SshKeyFile {
  readonly user: string;
  readonly apiKey: string;
}

/** One dyno from the first line that it was sent. */
export interface Build {
  readonly id: string;
  readonly socket: TLSSocket;
  /** Resets the connection. */
  cut(): void;
  /** The first record, whole. */
  readonly head: string;
  /** The process of git, where there is one. */
  child: ChildProcess | undefined;
  /** How the dyno learned that it is to end; undefined: it ended by itself. */
  told: "end" | "cut" | undefined;
  readonly closed: Promise<void>;
}

type Behaviour = (build: Build, run: { readonly action: string; readonly repository: string }) => void;

export interface Openruko {
  readonly directory: string;
  /** `METHOD path key`, in order. */
  readonly asked: string[];
  readonly builds: Build[];
  /** Who may use an app. */
  readonly apps: Map<string, readonly Person[]>;
  /** In place of the API server's own answers, where it answers true. */
  answer: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
  /** Dynos are not told of before it is settled. */
  hold: Promise<void> | undefined;
  /** In place of git. */
  behave: Behaviour;
  readonly rendezvousPort: number;
  readonly apiUrl: string;
  /** The same, with a certificate of the same authority. */
  readonly apiTlsUrl: string;
  readonly caFile: string;
  person(name: string): Person;
  /** The key is nobody's any more; what it was good for at the API server stays. */
  remove(person: Person): void;
  /** A repository of git's own for an app of these people. */
  app(name: string, ...people: readonly Person[]): Promise<string>;
  /** Waits for a dyno to be met. */
  build(number: number): Promise<Build>;
  serve(options?: Partial<OpenrukoOptions>, server?: Partial<GitServerOptions>): Promise<Front>;
  stopApi(): Promise<void>;
  close(): Promise<void>;
}

export interface Front {
  readonly server: GitServer;
  readonly port: number;
  url(app: string): string;
  client(...people: readonly SshKeyFile[]): SshClient;
  /** Entries of the log, as text. */
  readonly said: string[];
  /** Waits for an entry. */
  heard(text: string): Promise<void>;
}

export async function startOpenruko(directory: string): Promise<Openruko> {
  const people: Person[] = [];
  const removed = new Set<Person>();
  const dynos = new Map<string, { readonly action: string; readonly repository: string }>();
  const fronts: Front[] = [];
  const arrivals: (() => void)[] = [];
  const { caFile, key, cert } = await makeCertificates(directory);

  const answerApi = async (request: IncomingMessage, response: ServerResponse): Promise<unknown> => {
    const { method = "", url = "", headers } = request;
    const given = Buffer.from((headers.authorization ?? "").replace(/^Basic /, ""), "base64").toString();
    const apiKey = given.startsWith(":") ? given.slice(1) : `malformed ${given}`;
    openruko.asked.push(`${method} ${url} ${apiKey}`);
    if (openruko.answer?.(request, response) === true) return;
    const fingerprint = /^\/internal\/lookupUserByPublicKey\?fingerprint=([0-9a-f]{32})$/.exec(url)?.[1];
    const action = /^\/internal\/([^/]+)\/gitaction\?command=(git-(?:receive|upload)-pack)$/.exec(url);
    if (method === "GET" && fingerprint !== undefined) {
      if (apiKey !== SERVER_KEY) return response.writeHead(401).end("bad key");
      const found = people.find(
        (person) =>
          !removed.has(person) && createHash("md5").update(person.blob).digest("hex") === fingerprint,
      );
      if (found === undefined) return response.writeHead(404).end("unknown");
      return response.writeHead(200).end(`${found.user}:${found.apiKey}`);
    }
    if (method !== "POST" || action?.[1] === undefined || action[2] === undefined)
      return response.writeHead(400).end();
    await openruko.hold;
    const who = people.find((person) => person.apiKey === apiKey);
    if (who === undefined) return response.writeHead(401).end();
    const users = openruko.apps.get(action[1]);
    if (users === undefined) return response.writeHead(404).end();
    if (!users.includes(who)) return response.writeHead(403).end();
    const id = randomUUID();
    dynos.set(id, { action: action[2], repository: join(directory, `${action[1]}.git`) });
    const answer = { host: "127.0.0.1", dyno_id: id, rez_id: randomUUID() };
    return response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(answer));
  };
  const api = createHttpServer((request, response) => void answerApi(request, response));
  const apiOverTls = createHttpsServer(
    { key, cert },
    (request, response) => void answerApi(request, response),
  );
  const host = createTlsServer({ key, cert, allowHalfOpen: true }, (socket) => {
    socket.on("error", () => undefined);
    // As Openruko's own: the first record is the head, all of it and nothing else.
    socket.once("data", (chunk: Buffer) => {
      const head = chunk.toString();
      const id = head.split("\n")[1] ?? "";
      const run = dynos.get(id);
      dynos.delete(id);
      const raw = raws.get(socket.remotePort ?? 0);
      const build: Build = {
        id,
        socket,
        cut: () => void raw?.resetAndDestroy(),
        head,
        child: undefined,
        told: undefined,
        closed: new Promise<void>((resolve) => socket.once("close", () => resolve())),
      };
      openruko.builds.push(build);
      if (run === undefined) socket.end("Dyno does not exist.");
      else openruko.behave(build, run);
      for (const arrival of arrivals) arrival();
    });
  });
  const raws = new Map<number, Socket>();
  host.on("connection", (raw: Socket) => raws.set(raw.remotePort ?? 0, raw));
  for (const server of [api, apiOverTls, host]) {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  }
  const portOf = (server: typeof api | typeof apiOverTls | typeof host): number =>
    (server.address() as AddressInfo).port;

  const openruko: Openruko = {
    directory,
    asked: [],
    builds: [],
    apps: new Map(),
    answer: undefined,
    hold: undefined,
    behave: runGit,
    rendezvousPort: portOf(host),
    apiUrl: `http://127.0.0.1:${portOf(api)}`,
    apiTlsUrl: `https://localhost:${portOf(apiOverTls)}`,
    caFile,
    person(name) {
      const person = { ...makeSshKey(directory, name), user: name, apiKey: `key-of-${name}` };
      people.push(person);
      return person;
    },
    remove(person) {
      removed.add(person);
    },
    async app(name, ...users) {
      const path = join(directory, `${name}.git`);
      await createGitClient(directory).run("init", "-q", "--bare", path);
      openruko.apps.set(name, users);
      return path;
    },
    async build(number) {
      while (openruko.builds.length <= number) await new Promise<void>((resolve) => arrivals.push(resolve));
      return openruko.builds[number] as Build;
    },
    async serve(options, serverOptions) {
      const front = await startFront(openruko, options, serverOptions);
      fronts.push(front);
      return front;
    },
    async stopApi() {
      for (const server of [api, apiOverTls]) {
        if (!server.listening) continue;
        server.close();
        server.closeAllConnections();
        await once(server, "close");
      }
    },
    async close() {
      for (const { server } of fronts) await server.close({ graceMs: 0 });
      await openruko.stopApi();
      for (const { child } of openruko.builds) child?.kill("SIGKILL");
      for (const raw of raws.values()) raw.destroy();
      host.close();
      await once(host, "close");
    },
  };
  return openruko;
}

/** One record a write: what is written while another waits would be put together with it. */
export function writeRecords(socket: TLSSocket): (bytes: Buffer) => Promise<void> {
  let last: Promise<void> = Promise.resolve();
  return (bytes) =>
    (last = last.then(
      () => new Promise((resolve) => (socket.writable ? socket.write(bytes, () => resolve()) : resolve())),
    ));
}

/**
 * The end of what it reads is SIGTERM to git, a connection that is cut SIGKILL. A receive-pack that has written its last
 * packet is told nothing: it ends by itself, a moment after whoever reads that packet may have ended the connection.
 */
export const runGit: Behaviour = (build, { action, repository }) => {
  const { socket } = build;
  const child = spawn("git", [action.slice("git-".length), repository], {
    env: { PATH: process.env["PATH"], HOME: "/nonexistent", GIT_CONFIG_NOSYSTEM: "1", LANG: "C" },
  });
  build.child = child;
  const write = writeRecords(socket);
  // The first ends the advertisement, the second the report.
  let flushes = 0;
  child.stdout.on("data", (chunk: Buffer) => {
    if (chunk.subarray(-4).toString("latin1") === "0000") flushes++;
    child.stdout.pause();
    void write(chunk).then(() => child.stdout.resume());
  });
  child.stderr.on("data", (chunk: Buffer) => void write(Buffer.concat([Buffer.from("E:"), chunk])));
  child.stdin.on("error", () => undefined);
  socket.pipe(child.stdin, { end: false });
  const isRunning = (): boolean => child.exitCode === null && child.signalCode === null;
  socket.once("end", () => {
    if (!isRunning() || (action === "git-receive-pack" && flushes > 1)) return;
    build.told = "end";
    child.kill("SIGTERM");
  });
  socket.once("close", () => {
    if (!isRunning() || build.told !== undefined) return;
    build.told = "cut";
    child.kill("SIGKILL");
  });
  child.once("close", () => void write(Buffer.alloc(0)).then(() => socket.end()));
};

async function startFront(
  openruko: Openruko,
  options: Partial<OpenrukoOptions> = {},
  serverOptions: Partial<GitServerOptions> = {},
): Promise<Front> {
  const { directory, apiUrl, caFile, rendezvousPort } = openruko;
  const said: string[] = [];
  const listeners = new Set<() => void>();
  const server = createGitServer({
    repositories: createMemoryRepositoryStore(),
    log: ({ message, error }: ServiceLogEntry) => {
      said.push(error === undefined ? message : `${message}: ${String(error)}`);
      for (const listener of listeners) listener();
    },
    openruko: {
      apiServerKey: SERVER_KEY,
      apiServerUrl: apiUrl,
      rendezvousPort,
      rendezvousCaFile: caFile,
      rendezvousServerName: DYNO_NAME,
      retries: 0,
      ...options,
    },
    ...serverOptions,
  });
  const { ssh } = await server.listen({ http: 0, ssh: 0 });
  if (ssh === undefined) throw new Error("there is no SSH server");
  const { port } = ssh;
  return {
    server,
    port,
    said,
    url: (app) => `ssh://git@127.0.0.1:${port}/${app}.git`,
    client: (...people) =>
      createSshClient({
        directory,
        port,
        keys: people.map(({ path }) => path),
        options: ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"],
      }),
    heard: (text) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (!said.some((each) => each.includes(text))) return;
          listeners.delete(look);
          resolve();
        };
        listeners.add(look);
        look();
      }),
  };
}

async function makeCertificates(
  directory: string,
): Promise<{ readonly caFile: string; readonly key: string; readonly cert: string }> {
  const common = { keyType: "ec", algorithm: "sha256" } as const;
  const authority = await generate([{ name: "commonName", value: "Test authority" }], {
    ...common,
    extensions: [{ name: "basicConstraints", cA: true, critical: true }],
  });
  const pems = await generate([{ name: "commonName", value: DYNO_NAME }], {
    ...common,
    ca: { key: authority.private, cert: authority.cert },
    extensions: [
      { name: "subjectAltName", altNames: [DYNO_NAME, "localhost"].map((value) => ({ type: 2, value })) },
    ],
  });
  const caFile = join(directory, "authority.pem");
  writeFileSync(caFile, authority.cert);
  return { caFile, key: pems.private, cert: pems.cert };
}

/** A work tree with a commit or more. */
export async function makeWork(workspace: GitClient, name: string, commits = 1): Promise<GitClient> {
  await workspace.run("init", "-q", name);
  const work = workspace.in(name);
  for (let number = 0; number < commits; number++)
    await work.run("commit", "-q", "--allow-empty", "-m", `${name} ${number}`);
  return work;
}
