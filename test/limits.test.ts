/** Every limit of docs/limits.md over HTTP: what amounts to it is served, the same with a limit of one less is not. */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { Limits } from "../src/base/limits.js";
import type { PushHandlers } from "../src/engine/push.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { DEFAULT_REPOSITORY_SETTINGS } from "../src/storage/repository-settings-defaults.js";
import { formatDeltaEntry, formatEntry } from "../src/pack/pack-writer.js";
import type { ServiceLogEntry } from "../src/transport/service-host.js";
import { openRequest, postHead } from "./support/open-request.js";
import { pktLine, send } from "./support/raw-http.js";
import {
  blobOid,
  formatCommands,
  NULL_OID,
  packOfBlobs,
  pushOfBlob,
  RECEIVE_PACK_TYPE,
  sealPack,
  UPLOAD_PACK_TYPE,
} from "./support/raw-push.js";
import { settled } from "./support/settled.js";

interface Row {
  /** What the request amounts to. */
  readonly amount: number;
  readonly ask: (served: Served) => Promise<string>;
  readonly accepted: RegExp;
  /** @default a message that names the limit */
  readonly refused?: RegExp;
  readonly also?: Partial<Limits>;
}

interface Served {
  readonly server: TestServer;
  /** Resolves when the next request has been authorized and so stands before the gate of its repository. */
  arrival(): Promise<void>;
}

const BLOB = "a blob whose size is known\n";
const UNPACKED = /unpack ok\n/;
const SERVED = /^200 /;
/** What is waited for comes in its own time on a machine that is busy. */
const PATIENTLY = { timeout: 20_000 };

async function push(served: Served, body: Buffer | string): Promise<string> {
  const headers = { "Content-Type": RECEIVE_PACK_TYPE };
  const { status, body: answer } = await send(`${served.server.urlOf("app")}/git-receive-pack`, {
    body,
    headers,
  });
  return `${status} ${answer.toString("latin1")}`;
}

async function ask(served: Served, lines: readonly string[], repository = "app"): Promise<string> {
  const body = `${lines.map((line) => (line === "0001" ? line : pktLine(`${line}\n`))).join("")}0000`;
  const headers = { "Content-Type": UPLOAD_PACK_TYPE, "Git-Protocol": "version=2" };
  const { status, body: answer } = await send(`${served.server.urlOf(repository)}/git-upload-pack`, {
    body,
    headers,
  });
  return `${status} ${answer.toString("latin1")}`;
}

const fetch = (served: Served, ...lines: readonly string[]): Promise<string> =>
  ask(served, ["command=fetch", "0001", ...lines]);

/** A request at work in a repository, until the function that is returned is called. */
async function hold(served: Served, repository = "app"): Promise<() => Promise<void>> {
  const arrived = served.arrival();
  const lsRefs = pktLine("command=ls-refs\n");
  const held = await openRequest(
    served.server.url,
    postHead("git-upload-pack", { repository, length: lsRefs.length + 4, headers: ["Connection: close"] }),
  );
  await arrived;
  return async () => {
    held.write(`${lsRefs}0000`);
    expect(await held.closed).toContain("200 OK");
  };
}

/** What is answered to a request while others are held, which are let go once it has arrived. */
async function askWhile(served: Served, held: readonly string[], repository: string): Promise<string> {
  const letGo: (() => Promise<void>)[] = [];
  for (const name of held) letGo.push(await hold(served, name));
  const arrived = served.arrival();
  const answer = ask(served, ["command=ls-refs"], repository);
  await arrived;
  for (const go of letGo) await go();
  return answer;
}

const twoCommands = formatCommands([
  { newOid: blobOid(BLOB), name: "refs/tags/one" },
  { newOid: blobOid(BLOB), name: "refs/tags/two" },
]);
const oneCommand = (capabilities?: string): string =>
  formatCommands([{ newOid: blobOid(BLOB), name: "refs/tags/one" }], capabilities);

function certified(certificate: readonly string[]): Buffer {
  const text = [
    pktLine("push-cert\0report-status push-cert=x"),
    ...certificate.map((line) => pktLine(`${line}\n`)),
    pktLine("push-cert-end\n"),
    "0000",
  ].join("");
  return Buffer.concat([Buffer.from(text), packOfBlobs(BLOB)]);
}

const CERTIFICATE = [
  "certificate version 0.1",
  "pusher Ada <ada@example.org> 1700000000 +0100",
  "nonce x",
  "",
  `${NULL_OID} ${blobOid(BLOB)} refs/tags/one`,
  "-----BEGIN PGP SIGNATURE-----",
  "-----END PGP SIGNATURE-----",
];

/** A blob and deltas on deltas, each one byte longer than its base. */
function chainOfDeltas(depth: number): Buffer {
  const entries = [formatEntry("blob", Buffer.from("0123456789"))];
  for (let i = 0; i < depth; i++) {
    const size = 10 + i;
    const delta = Buffer.from([size, size + 1, 0x90, size, 1, 0x78]);
    const back = entries[i]?.length ?? 0;
    entries.push(formatDeltaEntry(back, delta));
  }
  return sealPack(entries.length, ...entries);
}
const deepest = blobOid("0123456789xxx");
const chainPush = Buffer.concat([
  Buffer.from(formatCommands([{ newOid: deepest, name: "refs/tags/one" }])),
  chainOfDeltas(3),
]);

/** Limits with a test of their own. */
const OTHERS = [
  "headerTimeoutMs",
  "idleTimeoutMs",
  "decisionTimeoutMs",
  "connectionsMax",
  "requestBytesTotalMax",
  "archiveEntriesMax",
  "archiveSizeBytesMax",
  "sshLoginTimeoutMs",
  "sshAttemptsMax",
  "sshStartupsMax",
  "sshSessionsMax",
  "sshKeepAliveMs",
  "sshKeyBytesMax",
] as const;

/** Too large for the main thread, whatever else there is. */
function packOfManyBlobs(count: number): Buffer {
  const rest = Array.from({ length: count - 2 }, (_, i) => `number ${i}`);
  return packOfBlobs(BLOB, randomBytes(1_200_000), ...rest);
}

const COUNTS: Record<Exclude<keyof Limits, (typeof OTHERS)[number]>, Row> = {
  packSizeBytesMax: {
    amount: packOfBlobs(BLOB).length,
    ask: (served) => push(served, pushOfBlob("one", BLOB)),
    accepted: UNPACKED,
  },
  packObjectsMax: {
    amount: 3,
    ask: (served) =>
      push(served, Buffer.concat([Buffer.from(oneCommand()), packOfBlobs(BLOB, "second", "third")])),
    accepted: UNPACKED,
  },
  packObjectsTotalMax: {
    amount: 2,
    async ask(served) {
      const body = Buffer.concat([Buffer.from(oneCommand()), packOfManyBlobs(10_002)]);
      // One after the other they fit both.
      return (await push(served, body)) && push(served, body);
    },
    accepted: UNPACKED,
    refused: /unpack the server reads too many objects at once; try again in a moment\n/,
  },
  objectSizeBytesMax: {
    amount: BLOB.length,
    ask: (served) => push(served, pushOfBlob("one", BLOB)),
    accepted: UNPACKED,
  },
  inflatedTotalBytesMax: {
    amount: 10 + 11 + 12 + 13,
    ask: (served) => push(served, chainPush),
    accepted: UNPACKED,
  },
  deltaDepthMax: { amount: 3, ask: (served) => push(served, chainPush), accepted: UNPACKED },
  commandsMax: {
    amount: 2,
    ask: (served) => push(served, Buffer.concat([Buffer.from(twoCommands), packOfBlobs(BLOB)])),
    accepted: UNPACKED,
  },
  commandBytesMax: {
    amount: twoCommands.length,
    ask: (served) => push(served, Buffer.concat([Buffer.from(twoCommands), packOfBlobs(BLOB)])),
    accepted: UNPACKED,
  },
  pushOptionsMax: {
    amount: 2,
    ask: (served) =>
      push(
        served,
        Buffer.concat([
          Buffer.from(`${oneCommand("report-status push-options")}${pktLine("a")}${pktLine("b")}0000`),
          packOfBlobs(BLOB),
        ]),
      ),
    accepted: UNPACKED,
  },
  certificateBytesMax: {
    amount: CERTIFICATE.join("\n").length + 1,
    ask: (served) => push(served, certified(CERTIFICATE)),
    accepted: UNPACKED,
  },
  wantsMax: {
    amount: 2,
    ask: (served) => fetch(served, `want ${blobOid("seed one")}`, `want ${blobOid("seed two")}`, "done"),
    accepted: /packfile\n/,
  },
  havesMax: {
    amount: 2,
    ask: (served) =>
      fetch(
        served,
        `want ${blobOid("seed one")}`,
        `have ${blobOid("elsewhere one")}`,
        `have ${blobOid("elsewhere two")}`,
        "done",
      ),
    accepted: /packfile\n/,
  },
  requestBytesMax: {
    amount: pktLine("command=ls-refs\n").length + 4,
    ask: (served) => ask(served, ["command=ls-refs"]),
    accepted: /refs\/tags\/seed-one/,
  },
  filterDepthMax: {
    amount: 2,
    ask: (served) =>
      fetch(served, `want ${blobOid("seed one")}`, "filter combine:combine:tree%3a1+tree:2", "done"),
    accepted: /packfile\n/,
  },
  repositoryConcurrencyMax: {
    amount: 2,
    also: { repositoryQueueMax: 0 },
    ask: (served) => askWhile(served, ["app"], "app"),
    accepted: SERVED,
    refused: /^503 too many requests wait for repository 'app'/,
  },
  repositoryQueueMax: {
    amount: 1,
    also: { repositoryConcurrencyMax: 1 },
    ask: (served) => askWhile(served, ["app"], "app"),
    accepted: SERVED,
    refused: /^503 too many requests wait for repository 'app'/,
  },
  requestsMax: {
    amount: 3,
    ask: (served) => askWhile(served, ["app", "app"], "other"),
    accepted: SERVED,
    refused: /^503 the server has too many requests/,
  },
};

describe("limits over HTTP", () => {
  const servers: TestServer[] = [];
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.close();
  });

  async function serve(
    limits: Partial<Limits>,
    log?: (entry: ServiceLogEntry) => void,
    handlers: PushHandlers = {},
  ): Promise<Served> {
    const { receive } = DEFAULT_REPOSITORY_SETTINGS;
    const store = createMemoryRepositoryStore({
      settings: () => ({
        ...DEFAULT_REPOSITORY_SETTINGS,
        receive: { ...receive, advertisePushOptions: true, certNonceSeed: "seed" },
      }),
    });
    const unlimited = await createTestServer({ repositories: store });
    servers.push(unlimited);
    const seeding: Served = { server: unlimited, arrival: () => Promise.resolve() };
    for (const name of ["app", "other"]) await (await store.create(name)).close();
    for (const name of ["one", "two"]) {
      expect(await push(seeding, pushOfBlob(`seed-${name}`, `seed ${name}`))).toMatch(UNPACKED);
    }
    let announce: (() => void) | undefined;
    const server = await createTestServer({
      repositories: store,
      limits,
      handlers,
      ...(log === undefined ? {} : { log }),
      authorize: () => {
        // The gate is entered some microtasks from here.
        if (announce !== undefined) setImmediate(announce);
        return { allowed: true };
      },
    });
    servers.push(server);
    return { server, arrival: () => new Promise((resolve) => (announce = resolve)) };
  }

  it("has a row for every line of docs/limits.md", () => {
    const text = readFileSync(new URL("../../docs/limits.md", import.meta.url), "utf8");
    const [page = ""] = text.split("## Rates");
    const documented = [...page.matchAll(/^\| `(\w+)` \|/gm)].map(([, name = ""]) => name);
    expect([...Object.keys(COUNTS), ...OTHERS].toSorted()).toEqual(documented.toSorted());
  });

  it.each(Object.entries(COUNTS))("%s", async (name, row) => {
    const at = await serve({ ...row.also, [name]: row.amount });
    expect(await row.ask(at)).toMatch(row.accepted);
    expect(await ask(at, ["command=ls-refs"])).toContain("seed-two");

    const below = await serve({ ...row.also, [name]: row.amount - 1 });
    const refused = await row.ask(below);
    expect(refused).toMatch(row.refused ?? new RegExp(`limit \\(${name}\\)`));
    expect(refused).not.toMatch(row.accepted);
    // What was refused has changed nothing, and the server goes on.
    if (name !== "requestBytesMax") {
      const refs = await ask(below, ["command=ls-refs"]);
      expect(refs).toContain("seed-two");
      expect(refs).not.toContain("refs/tags/one");
    }
  });

  it("requestBytesTotalMax", async () => {
    const option = pktLine("x".repeat(60_000));
    const commands = `${oneCommand("report-status push-options")}${option}${option}0000`;
    const body = Buffer.concat([Buffer.from(commands), packOfBlobs(BLOB)]);
    const each = commands.length - 64 * 1024;
    for (const requestBytesTotalMax of [2 * each, 2 * each - 1]) {
      const fits = requestBytesTotalMax === 2 * each;
      let letGo = (): void => undefined;
      const released = new Promise<void>((resolve) => (letGo = resolve));
      let held = 0;
      const served = await serve({ requestBytesTotalMax }, undefined, {
        async preReceive() {
          held++;
          await released;
          return "held";
        },
      });
      const first = push(served, body);
      await vi.waitFor(() => expect(held).toBe(1), PATIENTLY);
      const second = push(served, body);
      if (fits) await vi.waitFor(() => expect(held).toBe(2), PATIENTLY);
      else expect(await second).toMatch(/^503 the server reads too many large requests/);
      // Who asks for little is served whatever the others do.
      expect(await ask(served, ["command=ls-refs"])).toMatch(SERVED);
      letGo();
      expect(await first).toMatch(/ng refs\/tags\/one held/);
      if (fits) expect(await second).toMatch(/ng refs\/tags\/one held/);
      expect(await push(served, body)).toMatch(/ng refs\/tags\/one held/);
    }
  });

  it("requestBytesTotalMax in a fetch", async () => {
    const prefixes = Array.from({ length: 3 }, (_, i) => `ref-prefix ${String(i).repeat(40_000)}`);
    const amount = pktLine("command=ls-refs\n").length + 3 * (prefixes[0]?.length ?? 0) + 3 * 5 + 4 + 4;
    const lines = ["command=ls-refs", "0001", ...prefixes];
    expect(await ask(await serve({ requestBytesTotalMax: amount - 64 * 1024 }), lines)).toMatch(SERVED);
    const below = await serve({ requestBytesTotalMax: amount - 64 * 1024 - 1 });
    const refused = await send(`${below.server.urlOf("app")}/git-upload-pack`, {
      body: `${lines.map((line) => (line === "0001" ? line : pktLine(`${line}\n`))).join("")}0000`,
      headers: { "Content-Type": UPLOAD_PACK_TYPE, "Git-Protocol": "version=2" },
    });
    expect(refused).toMatchObject({ status: 503, headers: { "retry-after": "5" } });
  });

  it("connectionsMax", async () => {
    const log: ServiceLogEntry[] = [];
    const served = await serve({ connectionsMax: 2 }, (entry) => void log.push(entry));
    const { url } = served.server;
    const first = await openRequest(url);
    const second = await openRequest(url, postHead("git-upload-pack", { length: 4 }));
    second.write("0000");
    expect(await second.seen(/\r\n\r\n/)).toContain("200 OK");
    const refused = [await openRequest(url), await openRequest(url)];
    for (const { closed } of refused) expect(await closed).toBe("");
    // One line for the crowd.
    expect(log.filter(({ level }) => level !== "info")).toMatchObject([
      {
        level: "warn",
        message: expect.stringMatching(/: 2 are open, the server's limit \(connectionsMax\)$/),
      },
    ]);
    for (const { socket, closed } of [first, second]) {
      socket.destroy();
      await closed;
    }
    await vi.waitFor(async () => expect(await ask(served, ["command=ls-refs"])).toMatch(SERVED), PATIENTLY);
  });

  it("connectionsMax of none, and of any number", async () => {
    const none = await serve({ connectionsMax: 0 });
    expect(await (await openRequest(none.server.url, "GET / HTTP/1.1\r\n\r\n")).closed).toBe("");
    expect(await ask(await serve({ connectionsMax: Infinity }), ["command=ls-refs"])).toMatch(SERVED);
  });

  it("headerTimeoutMs", async () => {
    const served = await serve({ headerTimeoutMs: 100 });
    expect(await ask(served, ["command=ls-refs"])).toMatch(SERVED);
    for (const beginning of ["", "POST /app.git/git-upload-pack HTTP/1.1\r\nHost: localhost\r\nX-Never: "]) {
      const slow = await openRequest(served.server.url, beginning);
      expect(await slow.closed).toMatch(/^HTTP\/1.1 408 /);
    }
    expect(await ask(served, ["command=ls-refs"])).toMatch(SERVED);
  });

  it("idleTimeoutMs", async () => {
    const served = await serve({ idleTimeoutMs: 100 });
    expect(await ask(served, ["command=ls-refs"])).toMatch(SERVED);
    for (const service of ["git-upload-pack", "git-receive-pack"] as const) {
      const stalled = await openRequest(
        served.server.url,
        `${postHead(service, { length: 100, headers: ["Connection: close"] })}0014command=ls`,
      );
      expect(await stalled.seen(/no byte arrived for 0.1 seconds/)).toContain("HTTP/1.1 ");
      stalled.socket.destroy();
    }
    await settled(served.server.server);
    expect(await ask(served, ["command=ls-refs"])).toMatch(SERVED);
  });
});
