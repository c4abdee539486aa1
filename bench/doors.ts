/**
 * `npm run bench:doors -- [--connections N] [--requests N] [--write]`: what crowds cost at the front doors. Connections on
 * which nothing happens, wrong passwords, tokens and keys, and requests that are refused beside such that are served. The
 * server is a process of its own, with the defaults but for what is said. `--write` writes docs/front-doors.md.
 */
import { fork } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { generate } from "selfsigned";
import ssh2 from "ssh2";
import { SignJWT } from "jose";
import { createAccessToken } from "../src/access/access-token.js";
import { hashPassword } from "../src/access/password-hash.js";
import { fingerprintOf } from "../src/access/ssh-public-key.js";
import { createAccessStore } from "../src/database/access-store.js";
import { openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import type { RateOptions } from "../src/access/rates/rates.js";
import type { GitServerOptions, ListenOptions } from "../src/server/git-server-options.js";
import { git } from "./data.js";
import {
  type Crowd,
  floodOfRequests,
  floodOfSshAttempts,
  plainConnections,
  sshConnections,
  tlsConnections,
} from "./doors-clients.js";
import type { DoorsAnswer, DoorsOrder } from "./doors-server.js";

const { values } = parseArgs({
  options: {
    connections: { type: "string", default: "2000" },
    requests: { type: "string", default: "10000" },
    write: { type: "boolean", default: false },
  },
});
const CONNECTIONS = Number(values.connections);
const SSH_CONNECTIONS = Math.min(500, CONNECTIONS);
const REQUESTS = Number(values.requests);
const SENDERS = 64;
const DISCOVERY = "/app.git/info/refs?service=git-upload-pack";
const SERVER = fileURLToPath(new URL("doors-server.js", import.meta.url));

type Listening = Extract<DoorsAnswer, { readonly kind: "listening" }>;
type Figures = Extract<DoorsAnswer, { readonly kind: "figures" }>;

interface Server extends Listening {
  figures(): Promise<Figures>;
  stop(): Promise<void>;
}

const work = mkdtempSync(join(tmpdir(), "gitwharf-doors-"));
const repositories = join(work, "repositories");
git(work, "init", "-q", "--bare", join(repositories, "app.git"));
const location = `sqlite:${join(work, "access.sqlite")}`;

async function start(
  options: Partial<GitServerOptions> = {},
  listen: Partial<ListenOptions> = {},
): Promise<Server> {
  const child = fork(SERVER, { execArgv: ["--expose-gc"] });
  const next = async (): Promise<DoorsAnswer> => ((await once(child, "message")) as [DoorsAnswer])[0];
  const order: DoorsOrder = {
    options: {
      repositories,
      database: location,
      anonymousRead: ["**"],
      trustedProxies: ["loopback"],
      gitDaemon: { exportAll: true },
      ...options,
    },
    listen: { http: 0, ssh: 0, git: 0, ...listen },
  };
  child.send(order);
  const listening = await next();
  if (listening.kind !== "listening") throw new Error("the server did not begin");
  return {
    ...listening,
    async figures() {
      child.send("figures");
      const answer = await next();
      if (answer.kind !== "figures") throw new Error("the server tells no figures");
      return answer;
    },
    async stop() {
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    },
  };
}

const number = (value: number, digits = 0): string =>
  value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const row = (...cells: readonly string[]): string => `| ${cells.join(" | ")} |`;

async function idleRow(
  door: string,
  count: number,
  make: (server: Server, count: number) => Promise<Crowd>,
  listen: Partial<ListenOptions> = {},
): Promise<string> {
  const patience = { headerTimeoutMs: 600_000, sshLoginTimeoutMs: 600_000, idleTimeoutMs: 600_000 };
  const server = await start({ limits: { ...patience, sshStartupsMax: count } }, listen);
  try {
    // The first few pay for what all share.
    (await make(server, 50)).leave();
    const before = await server.figures();
    const crowd = await make(server, count);
    const after = await server.figures();
    const held = crowd.open();
    crowd.leave();
    console.log(`${door}: ${held} held`);
    return row(
      door,
      number(held),
      `${number((after.residentBytes - before.residentBytes) / held / 1024, 1)} KiB`,
      `${number((after.cpuMs - before.cpuMs) / held, 2)} ms`,
    );
  } finally {
    await server.stop();
  }
}

async function floodRow(
  what: string,
  options: Partial<GitServerOptions>,
  headersOf: (i: number) => Record<string, string>,
): Promise<string> {
  const server = await start(options);
  try {
    await floodOfRequests(server.http + DISCOVERY, {
      count: 200,
      connections: 8,
      headersOf: () => ({ "X-Forwarded-For": "198.51.100.9" }),
    });
    const before = await server.figures();
    const { seconds, statuses } = await floodOfRequests(server.http + DISCOVERY, {
      count: REQUESTS,
      connections: SENDERS,
      headersOf,
    });
    const after = await server.figures();
    const cpuMs = after.cpuMs - before.cpuMs;
    const answers = [...statuses]
      .toSorted(([a], [b]) => a - b)
      .map(([status, n]) => `${number(n)} × ${status}`);
    console.log(`${what}: ${number(REQUESTS / seconds)} a second, ${answers.join(", ")}`);
    return row(
      what,
      number(REQUESTS / (cpuMs / 1000)),
      answers.join(", "),
      number(after.refused - before.refused),
      `${number(cpuMs / 1000, 1)} s`,
      `${number(cpuMs / REQUESTS, 3)} ms`,
      `${number((after.residentBytes - before.residentBytes) / 2 ** 20, 1)} MiB`,
    );
  } finally {
    await server.stop();
  }
}

async function sshRow(what: string, connections: number, next: () => object): Promise<string> {
  const server = await start();
  try {
    await floodOfSshAttempts(server.ssh, { connections: 20, atOnce: 10, next });
    const before = await server.figures();
    const { seconds, attempts } = await floodOfSshAttempts(server.ssh, { connections, atOnce: 20, next });
    const after = await server.figures();
    const cpuMs = after.cpuMs - before.cpuMs;
    console.log(`${what}: ${number(attempts / seconds)} a second`);
    return row(
      what,
      number(attempts / (cpuMs / 1000)),
      `${number(attempts)} on ${number(connections)} connections`,
      number(after.refused - before.refused),
      `${number(cpuMs / 1000, 1)} s`,
      `${number(cpuMs / attempts, 3)} ms`,
      `${number((after.residentBytes - before.residentBytes) / 2 ** 20, 1)} MiB`,
    );
  } finally {
    await server.stop();
  }
}

const GUESSER = { "X-Forwarded-For": "192.0.2.7" };
const basic = (user: string, password: string): Record<string, string> => ({
  ...GUESSER,
  Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`,
});
const bearer = (token: string): Record<string, string> => ({ ...GUESSER, Authorization: `Bearer ${token}` });

try {
  const database = await openDatabase(parseDatabaseLocation(location));
  const store = createAccessStore(database);
  await store.addUser({ name: "ada", password: await hashPassword("right") });
  const key = ssh2.utils.generateKeyPairSync("ed25519");
  const parsed = ssh2.utils.parseKey(key.public);
  if (parsed instanceof Error) throw parsed;
  const blob = parsed.getPublicSSH();
  await store.addKey({
    fingerprint: fingerprintOf(blob),
    user: "ada",
    type: "ssh-ed25519",
    blob: blob.toString("base64"),
    comment: "",
    grant: undefined,
  });
  const { id, token, hash } = createAccessToken();
  await store.addToken({ id, user: "ada", hash, label: "", expiresAt: undefined, grant: undefined });
  await database.close();
  const pems = await generate([{ name: "commonName", value: "localhost" }], { keySize: 2048 });
  const tls = { certificateFile: join(work, "cert.pem"), keyFile: join(work, "key.pem") };
  writeFileSync(tls.certificateFile, pems.cert);
  writeFileSync(tls.keyFile, pems.private);
  const platform = generateKeyPairSync("ed25519");
  const platformFile = join(work, "platform.pem");
  writeFileSync(platformFile, platform.publicKey.export({ type: "spki", format: "pem" }));
  const forged = await new SignJWT({ repositories: ["**"], operations: ["read"] })
    .setProtectedHeader({ alg: "EdDSA", kid: "platform" })
    .setSubject("ada")
    .setAudience("here")
    .setIssuedAt()
    .setExpirationTime("1h")
    .sign(generateKeyPairSync("ed25519").privateKey);
  const signedTokens = { keys: [platformFile], audience: "here" };
  const request = `GET ${DISCOVERY} HTTP/1.1\r\nHost: localhost\r\n\r\n`;

  const idle = [
    await idleRow("HTTP, nothing said", CONNECTIONS, ({ http }, count) => plainConnections(http, count)),
    await idleRow("HTTP, answered and kept alive", CONNECTIONS, ({ http }, count) =>
      plainConnections(http, count, request),
    ),
    await idleRow(
      "HTTPS, after the handshake",
      CONNECTIONS,
      ({ http }, count) => tlsConnections(http, count),
      {
        tls,
      },
    ),
    await idleRow("SSH, not signed in", SSH_CONNECTIONS, ({ ssh }, count) =>
      plainConnections(ssh, count, "SSH-2.0-idle\r\n"),
    ),
    await idleRow("SSH, signed in", SSH_CONNECTIONS, ({ ssh }, count) =>
      sshConnections(ssh, count, key.private),
    ),
    await idleRow("git://, nothing said", CONNECTIONS, ({ git: url }, count) => plainConnections(url, count)),
  ];
  const few: RateOptions = { requestsPerAddress: { max: 1, seconds: 3600 } };
  const keys = Array.from({ length: 16 }, () => ssh2.utils.generateKeyPairSync("ed25519").private);
  let serial = 0;
  const closed = { anonymousRead: [] };
  const floods = [
    await floodRow("wrong passwords of one user", {}, (i) => basic("ada", `guess ${i}`)),
    await floodRow("the same without rates", { rates: false }, (i) => basic("ada", `guess ${i}`)),
    await floodRow("access tokens that are none", {}, () => bearer(createAccessToken().token)),
    await floodRow("the same without rates", { rates: false }, () => bearer(createAccessToken().token)),
    await floodRow("forged signed tokens", { signedTokens }, () => bearer(forged)),
    await floodRow("the same without rates", { signedTokens, rates: false }, () => bearer(forged)),
    await sshRow("passwords over SSH", REQUESTS / 100, () => ({
      type: "password",
      password: `guess ${serial++}`,
    })),
    await sshRow("unknown keys over SSH", REQUESTS / 100, () => ({
      type: "publickey",
      key: keys[serial++ % keys.length],
    })),
  ];
  const requests = [
    await floodRow("served: discovery, anybody", {}, () => GUESSER),
    await floodRow("served: discovery, with a token", closed, () => bearer(token)),
    await floodRow("served: discovery, with a password", closed, () => basic("ada", "right")),
    await floodRow("refused: too many requests", { rates: few }, () => GUESSER),
    await floodRow("refused: nobody has signed in", closed, () => GUESSER),
  ];
  const page = [
    "# Front doors: what a crowd costs",
    "",
    `Written by \`npm run bench:doors -- --write\` on ${new Date().toISOString().slice(0, 10)}: Node ${process.version}, two cores that client and server share.`,
    "The server is a process of its own with the default limits and rates ([limits.md](limits.md)) where nothing else is said, users in SQLite.",
    "Answers are counted by the CPU seconds of the server, which other work on the machine changes little. Figures drift with the machine;",
    "what matters is how they compare.",
    "",
    "## Connections on which nothing happens",
    "",
    "Memory is what the process has more of, after a collection, divided by their number; CPU is for making them.",
    "",
    "| door | held | memory each | CPU each |",
    "| --- | --: | --: | --: |",
    ...idle,
    "",
    "## Guessing",
    "",
    `${number(REQUESTS)} requests from ${SENDERS} connections of one address; over SSH, connections that try until they are closed. *Checked* is how many`,
    "credentials were looked at and found wrong: the rest was refused before.",
    "",
    "| what | a CPU second | answers | checked | CPU | CPU each | memory |",
    "| --- | --: | --- | --: | --: | --: | --: |",
    ...floods,
    "",
    "## Refused beside served",
    "",
    "| what | a CPU second | answers | checked | CPU | CPU each | memory |",
    "| --- | --: | --- | --: | --: | --: | --: |",
    ...requests,
    "",
  ].join("\n");
  if (values.write) writeFileSync("docs/front-doors.md", page);
  else console.log(page);
} finally {
  rmSync(work, { recursive: true, force: true });
}
