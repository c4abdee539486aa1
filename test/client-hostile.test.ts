/**
 * Our own client against servers that lie, stall or never end: each comes to an error of the client that names the server
 * and no password, and leaves the repository as it was.
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { openRemote, type FetchRequest, type RemoteOptions } from "../src/client/index.js";
import { DEFAULT_LIMITS } from "../src/base/limits.js";
import { createHttpTransport } from "../src/client/http-transport.js";
import { ingestPack } from "../src/engine/ingest/ingest-pack.js";
import { hashObject } from "../src/object/object-id.js";
import { formatEntry, formatPackHeader } from "../src/pack/pack-writer.js";
import { encodePktLine, FLUSH } from "../src/protocol/wire/pkt-line.js";
import type { Repository } from "../src/storage/contracts/repository.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import {
  ADVERTISEMENT,
  band,
  lines,
  RESULT,
  type Script,
  type ScriptedServer,
  startScripted,
  v2Script,
} from "./support/scripted-server.js";

const SECRET = "sesame-open";
const OID = "1".repeat(40);
const servers: ScriptedServer[] = [];

async function serve(script: Script): Promise<ScriptedServer> {
  const server = await startScripted(script);
  servers.push(server);
  return server;
}
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

const withSecret = (url: string): string => url.replace("http://", `http://ada:${SECRET}@`);

/** What comes of listing refs; no password is in it. */
async function listFrom(server: ScriptedServer, options: RemoteOptions = {}): Promise<unknown> {
  const remote = openRemote(`${withSecret(server.url)}/app.git`, options);
  try {
    return await remote.listRefs();
  } catch (error) {
    for (let cause: unknown = error; cause instanceof Error; cause = cause.cause)
      expect(`${cause.message} ${JSON.stringify(cause)}`).not.toContain(SECRET);
    return error;
  } finally {
    remote.close();
  }
}

const failed = (code: string, words: string) => ({ code, message: expect.stringContaining(words) });
const advertise =
  (...chunks: readonly (Buffer | string)[]): Script =>
  (_request, response) => {
    response.writeHead(200, ADVERTISEMENT);
    for (const chunk of chunks) response.write(chunk);
    response.end();
  };
/** Writes until nobody listens any more. */
const withoutEnd =
  (head: Record<string, string>, first: Buffer, again: Buffer): Script =>
  (_request, response) => {
    response.writeHead(200, head);
    response.write(first);
    const more = (): void => {
      while (!response.destroyed && response.write(again));
    };
    response.on("drain", more);
    more();
  };

describe("a list of refs", () => {
  const service = lines("# service=git-upload-pack\n");
  const refs = (...names: readonly string[]): Buffer =>
    Buffer.concat([...names.map((name) => encodePktLine(`${OID} ${name}\n`)), FLUSH]);

  it.each<[string, Script, string, string]>([
    ["garbage", advertise("hello, who is there?"), "client/bad-answer", "does not speak git's protocol"],
    [
      "half a line",
      advertise(service, FLUSH, "00ff"),
      "client/unreachable",
      "broke off in the middle of a line",
    ],
    ["an end too early", advertise(service, FLUSH), "client/unreachable", "broke off before"],
    [
      "an error",
      advertise(service, FLUSH, encodePktLine("ERR go away\x1b[2J")),
      "client/refused",
      "said: go away?",
    ],
    [
      "ids of another length",
      advertise(service, FLUSH, encodePktLine("12 refs/heads/x\0agent=x"), FLUSH),
      "client/bad-answer",
      "does not speak git's protocol",
    ],
    [
      "an unknown object format",
      advertise(service, FLUSH, lines("version 2\n", "object-format=md5\n"), FLUSH),
      "client/bad-answer",
      "object format that is not known here (md5)",
    ],
    [
      "a page for people",
      (_request, response) => void response.writeHead(200, { "Content-Type": "text/html" }).end("<html>"),
      "client/bad-answer",
      "is it the address of a repository?",
    ],
    [
      "a name twice",
      v2Script({ refs: refs("refs/heads/a", "refs/heads/a") }),
      "client/bad-answer",
      "tells the ref refs/heads/a twice",
    ],
    [
      "401",
      (_request, response) =>
        void response.writeHead(401, { "Content-Type": "text/plain" }).end("no\x07pe\n"),
      "client/refused",
      "does not take the credentials: no?pe",
    ],
    [
      "403",
      (_request, response) => void response.writeHead(403).end(),
      "client/refused",
      "does not allow it",
    ],
    [
      "404",
      (_request, response) => void response.writeHead(404).end(),
      "client/refused",
      "no such repository",
    ],
    [
      "503",
      (_request, response) => void response.writeHead(503, { "Retry-After": "7" }).end(),
      "client/unreachable",
      "come again in 7 seconds",
    ],
    [
      "another encoding",
      (_request, response) =>
        void response.writeHead(200, { ...ADVERTISEMENT, "Content-Encoding": "br" }).end("x"),
      "client/bad-answer",
      "in a way that was not asked for",
    ],
    [
      "gzip that is none",
      (_request, response) =>
        void response.writeHead(200, { ...ADVERTISEMENT, "Content-Encoding": "gzip" }).end("hello there"),
      "client/bad-answer",
      "cannot be unpacked",
    ],
  ])("of %s", async (_what, script, code, words) => {
    const server = await serve(script);
    const found = await listFrom(server);
    expect(found).toMatchObject(failed(code, words));
    expect(found).toMatchObject({ message: expect.stringContaining(`${server.url}/app.git: `) });
  });

  it("is not read without end", async () => {
    const line = encodePktLine(`${OID} refs/heads/${"x".repeat(100)}\n`);
    const first = Buffer.concat([service, FLUSH, encodePktLine(`${OID} refs/heads/first\0agent=x\n`)]);
    const endless = await serve(withoutEnd(ADVERTISEMENT, first, Buffer.concat(Array(100).fill(line))));
    const refsBytesMax = 1024 * 1024;
    expect(await listFrom(endless, { refsBytesMax })).toMatchObject({ code: "client/bad-answer" });
    const bomb = gzipSync(Buffer.concat([first, Buffer.alloc(8 * refsBytesMax, line)]));
    const packed = await serve((_request, response) => {
      response.writeHead(200, { ...ADVERTISEMENT, "Content-Encoding": "gzip" }).end(bomb);
    });
    expect(await listFrom(packed, { refsBytesMax })).toMatchObject({ code: "client/bad-answer" });
  });

  it("is not waited for without end", async () => {
    const silent = await serve(() => undefined);
    expect(await listFrom(silent, { idleTimeoutMs: 50 })).toMatchObject(
      failed("client/unreachable", "has given no answer"),
    );
    const stalled = await serve((_request, response) => {
      response.writeHead(200, ADVERTISEMENT).write("00");
    });
    // Enough for the head of an answer on a busy machine.
    expect(await listFrom(stalled, { idleTimeoutMs: 500 })).toMatchObject(
      failed("client/unreachable", "has said nothing for"),
    );
  });

  it("is given up when its signal fires", async () => {
    const leaving = new AbortController();
    const server = await serve(() => leaving.abort());
    expect(await listFrom(server, { signal: leaving.signal })).toMatchObject({ code: "base/aborted" });
  });

  it("leaves out names that no ref can have", async () => {
    const names = [
      "refs/heads/../../config",
      "refs/heads/a/../b",
      "../x",
      "/etc/passwd",
      "refs/heads/x.lock",
      "refs/heads/.git",
      "refs/heads/a\x1bb",
      "hooks/post-update",
      "refs/heads/good",
    ];
    const server = await serve(
      v2Script({ refs: Buffer.concat([lines(`${OID} HEAD symref-target:../../x\n`), refs(...names)]) }),
    );
    expect(await listFrom(server)).toMatchObject({
      refs: [{ name: "refs/heads/good", oid: OID }],
      head: { oid: OID },
      omitted: names.slice(0, -1).map((name) => name.replace("\x1b", "?")),
    });
  });

  it("says when nobody is there", async () => {
    const server = await startScripted(() => undefined);
    await server.close();
    expect(await listFrom(server)).toMatchObject(failed("client/unreachable", "it refuses connections"));
  });
});

describe("redirects", () => {
  const to =
    (base: () => string): Script =>
    (request, response) =>
      void response.writeHead(302, { Location: `${base()}${request.url ?? ""}` }).end();
  const good = v2Script({});

  it("are followed, and everything after them goes there", async () => {
    const server = await serve((request, response, body) => {
      if (request.url?.startsWith("/app.git/") === true)
        response.writeHead(301, { Location: request.url.replace("/app.git/", "/moved/app.git/") }).end();
      else return good(request, response, body);
      return undefined;
    });
    const remote = openRemote(`${withSecret(server.url)}/app.git`);
    expect(await remote.listRefs()).toMatchObject({ refs: [] });
    expect(remote.url).toBe(`${server.url}/moved/app.git`);
    remote.close();
    expect(server.requests.map(({ line }) => line)).toEqual([
      "GET /app.git/info/refs?service=git-upload-pack",
      "GET /moved/app.git/info/refs?service=git-upload-pack",
      "POST /moved/app.git/git-upload-pack",
    ]);
    expect(server.requests.every(({ authorization }) => authorization !== undefined)).toBe(true);
  });

  it("take no credentials to another host, nor back again", async () => {
    const other = await serve(good);
    const server = await serve(to(() => other.url));
    expect(await listFrom(server)).toMatchObject({ refs: [] });
    expect(other.requests.map(({ authorization }) => authorization)).toEqual([undefined, undefined]);
    let home = "";
    const there = await serve(to(() => home));
    const here = await serve((request, response, body) =>
      here.requests.length === 1
        ? to(() => there.url)(request, response, body)
        : good(request, response, body),
    );
    home = here.url;
    expect(await listFrom(here)).toMatchObject({ refs: [] });
    expect(here.requests.map(({ authorization }) => authorization !== undefined)).toEqual([
      true,
      false,
      false,
    ]);
  });

  it("say that credentials were left behind when the other host asks for some", async () => {
    const other = await serve((_request, response) => void response.writeHead(401).end());
    const server = await serve(to(() => other.url));
    expect(await listFrom(server)).toMatchObject(
      failed("client/refused", "which are not sent where it has redirected to"),
    );
  });

  it("come to an end", async () => {
    const server = await serve(to(() => ""));
    expect(await listFrom(server)).toMatchObject(failed("client/bad-answer", "redirects more than 5 times"));
    expect(server.requests).toHaveLength(6);
  });

  it.each([
    ["ftp://127.0.0.1/info/refs?service=git-upload-pack", "client/not-callable", "neither https nor http"],
    ["file:///etc/passwd", "client/not-callable", "neither https nor http"],
    ["/login?next=app.git", "client/bad-answer", "which is no Git repository"],
    ["http://[", "client/bad-answer", "redirects to nowhere"],
    [
      "http://127.0.0.1/admin?x=/info/refs?service=git-upload-pack",
      "client/bad-answer",
      "which is no Git repository",
    ],
  ])("are not followed to %s", async (location, code, words) => {
    const server = await serve((_request, response) => {
      response.writeHead(302, { Location: location }).end();
    });
    expect(await listFrom(server)).toMatchObject(failed(code, words));
    expect(server.requests).toHaveLength(1);
  });

  it("are not followed later on", async () => {
    const server = await serve((request, response, body) => {
      if (request.method === "GET") return good(request, response, body);
      response.writeHead(307, { Location: "/elsewhere" }).end();
      return undefined;
    });
    expect(await listFrom(server)).toMatchObject(failed("client/bad-answer", "where nothing is followed"));
  });
});

describe("addresses that may not be called", () => {
  it("are not", async () => {
    const server = await serve(v2Script({}));
    expect(await listFrom(server, { allowAddresses: [] })).toMatchObject({ code: "client/not-callable" });
    expect(server.requests).toEqual([]);
    expect(await listFrom(server, { allowAddresses: ["loopback"] })).toMatchObject({ refs: [] });
  });

  it("are not by way of a name, nor of a redirect", async () => {
    const { port } = new URL((await serve(v2Script({}))).url);
    const resolve = async (host: string): Promise<readonly string[]> =>
      host === "both.example" ? ["93.184.216.34", "127.0.0.1"] : ["127.0.0.1"];
    const remote = openRemote(`http://both.example:${port}/app.git`, { allowAddresses: [], resolve });
    await expect(remote.listRefs()).rejects.toMatchObject({ code: "client/not-callable" });
    remote.close();
    const inner = await serve(v2Script({}));
    const outer = await serve((request, response) => {
      const location = `http://inner.example:${new URL(inner.url).port}${request.url ?? ""}`;
      response.writeHead(302, { Location: location }).end();
    });
    const named = openRemote(`${outer.url}/app.git`, {
      allowAddresses: ["127.0.0.1"],
      resolve: async () => ["10.0.0.1"],
    });
    await expect(named.listRefs()).rejects.toMatchObject({ code: "client/not-callable" });
    named.close();
    expect(inner.requests).toEqual([]);
  });
});

describe("a pack", () => {
  let workspace: GitClient;
  let tip: string;
  let next: string;
  let whole: Buffer;
  let commitAlone: Buffer;
  let nextAlone: Buffer;

  beforeAll(async () => {
    workspace = createWorkspace();
    await workspace.run("init", "-q");
    writeFileSync(join(workspace.directory, "file"), "content\n");
    await workspace.run("add", ".");
    await workspace.run("commit", "-q", "-m", "first");
    tip = await workspace.run("rev-parse", "HEAD");
    const pack = async (input: string, name: string): Promise<Buffer> => {
      const { stdout } = await workspace.tryWith({ input }, "pack-objects", "-q", name);
      return readFileSync(join(workspace.directory, `${name}-${stdout.trim()}.pack`));
    };
    whole = await pack(`${await workspace.run("rev-list", "--objects", "HEAD")}\n`, "whole");
    commitAlone = await pack(`${tip}\n`, "alone");
    await workspace.run("commit", "-q", "--allow-empty", "-m", "second");
    next = await workspace.run("rev-parse", "HEAD");
    nextAlone = await pack(`${next}\n`, "next");
  });
  afterAll(() => removeDirectory(workspace));

  const packfile = (...rest: readonly Buffer[]): Buffer => Buffer.concat([lines("packfile\n"), ...rest]);
  const sent = (pack: Buffer): Buffer => packfile(band(2, "Total 3\n"), band(1, pack), FLUSH);
  const changed = (pack: Buffer): Buffer => {
    const copy = Buffer.from(pack);
    const last = copy.length - 1;
    copy[last] = (copy[last] as number) ^ 1;
    return copy;
  };

  async function fetchFrom(
    answer: Buffer | Script,
    about: Partial<FetchRequest> = {},
    options: RemoteOptions = {},
  ): Promise<{ readonly found: unknown; readonly repository: Repository; readonly server: ScriptedServer }> {
    const server = await serve(v2Script({ fetch: answer }));
    const repository = await createMemoryRepositoryStore().create("copy");
    const remote = openRemote(`${withSecret(server.url)}/app.git`, options);
    const found: unknown = await remote
      .fetch({
        into: repository,
        wants: [tip],
        updates: [{ name: "refs/heads/main", oldOid: null, newOid: tip }],
        ...about,
      })
      .catch((error: unknown) => error);
    remote.close();
    return { found, repository, server };
  }

  it("is taken when it is as it should be", async () => {
    const { found, repository } = await fetchFrom(sent(whole));
    expect(found).toMatchObject({ objectCount: 3, refs: [{ ok: true }] });
    const snapshot = await repository.snapshot();
    expect(snapshot.refs.get("refs/heads/main")?.oid).toBe(tip);
    snapshot.release();
  });

  const cases: readonly [string, () => Buffer | Script, string, string][] = [
    ["a wrong hash", () => sent(changed(whole)), "pack/checksum-mismatch", "has sent is not taken"],
    ["missing objects", () => sent(commitAlone), "client/bad-answer", "is missing"],
    ["no object that was wanted", () => sent(emptyPack()), "client/bad-answer", "is missing"],
    [
      "more behind it",
      () => packfile(band(1, whole), band(1, "x"), FLUSH),
      "client/bad-answer",
      "goes on where",
    ],
    ["no pack", () => sent(Buffer.from("hello there, this is no pack")), "pack/bad-pack", "is not taken"],
    ["half of it", () => sent(whole.subarray(0, 40)), "base/truncated", "is not taken"],
    [
      "a connection that breaks",
      () => (_request, response) => {
        response.writeHead(200, { ...RESULT, "Content-Length": "100000" });
        response.write(packfile(band(1, whole.subarray(0, 40))));
        setImmediate(() => response.destroy());
      },
      "client/unreachable",
      "broke off",
    ],
    [
      "a last message",
      () => packfile(band(3, "out of \x1bmemory\n\0")),
      "client/refused",
      "said: out of ?memory",
    ],
    ["an error", () => lines("ERR upload-pack: not our ref\n"), "client/refused", "not our ref"],
    ["no band", () => packfile(encodePktLine("\x09x")), "client/bad-answer", "does not speak"],
    ["other sections", () => lines("wanted-refs\n"), "client/bad-answer", "does not speak"],
    [
      "acknowledgments in place of it",
      () => lines("acknowledgments\n"),
      "client/bad-answer",
      "does not speak",
    ],
    ["nothing", () => FLUSH, "client/bad-answer", "does not speak"],
  ];

  it.each(cases)("with %s is not", async (_what, answer, code, words) => {
    const { found, repository, server } = await fetchFrom(answer());
    expect(found).toMatchObject(failed(code, words));
    expect(found).toMatchObject({ message: expect.stringContaining(server.url) });
    expect((found as Error).message).not.toContain(SECRET);
    expect((found as Error).message).not.toMatch(/\?$/);
    const snapshot = await repository.snapshot();
    expect({ refs: snapshot.refs.all, packs: snapshot.objects.packs }).toEqual({ refs: [], packs: [] });
    snapshot.release();
  });

  it("that is too large is not", async () => {
    const { found } = await fetchFrom(sent(whole), { limits: { packSizeBytesMax: 50 } });
    expect(found).toMatchObject({ code: "base/limit-exceeded" });
    const many = await fetchFrom(sent(whole), { limits: { packObjectsMax: 1 } });
    expect(many.found).toMatchObject({ code: "base/limit-exceeded" });
  });

  const boundary = (...told: readonly string[]): Buffer =>
    Buffer.concat([lines("shallow-info\n", ...told.map((line) => `${line}\n`)), Buffer.from("0001")]);

  /** One fetch after the other into one repository. */
  async function fetchInOrder(
    ...answers: readonly { readonly answer: Buffer; readonly oid: string; readonly depth?: number }[]
  ): Promise<{ readonly found: unknown; readonly shallow: readonly string[] }> {
    let step = 0;
    const server = await serve(
      v2Script({
        fetch: (_request, response) =>
          void response.writeHead(200, RESULT).end(answers[step]?.answer ?? FLUSH),
      }),
    );
    const repository = await createMemoryRepositoryStore().create("copy");
    let found: unknown;
    for (; step < answers.length; step++) {
      const { oid = "", depth } = answers[step] ?? {};
      const remote = openRemote(`${server.url}/app.git`);
      const name = `refs/heads/branch${step}`;
      found = await remote
        .fetch({ into: repository, wants: [oid], updates: [{ name, oldOid: null, newOid: oid }], depth })
        .catch((error: unknown) => error);
      remote.close();
    }
    const snapshot = await repository.snapshot();
    snapshot.release();
    return { found, shallow: [...snapshot.shallow] };
  }

  it("cuts off nothing that is here already", async () => {
    const answer = Buffer.concat([boundary(`shallow ${tip}`), sent(nextAlone)]);
    const { found, shallow } = await fetchInOrder({ answer: sent(whole), oid: tip }, { answer, oid: next });
    expect(found).toMatchObject({ objectCount: 1, shallow: [], refs: [{ ok: true }] });
    expect(shallow).toEqual([]);
  });

  it("does not end a boundary behind which nothing has come", async () => {
    const nothing = Buffer.concat([boundary(`shallow ${next}`), sent(emptyPack())]);
    const alone = await fetchInOrder({ answer: nothing, oid: next, depth: 1 });
    expect(alone.found).toMatchObject({ code: "client/bad-answer" });
    const trees = await workspace.tryWith(
      { input: `${await workspace.run("rev-list", "--objects", "--no-walk", next)}\n` },
      "pack-objects",
      "-q",
      "shallow",
    );
    const pack = readFileSync(join(workspace.directory, `shallow-${trees.stdout.trim()}.pack`));
    const cut = Buffer.concat([boundary(`shallow ${next}`), sent(pack)]);
    const lie = Buffer.concat([boundary(`unshallow ${next}`), sent(emptyPack())]);
    const { found, shallow } = await fetchInOrder(
      { answer: cut, oid: next, depth: 1 },
      { answer: lie, oid: next, depth: 5 },
    );
    expect(found).toMatchObject(failed("client/bad-answer", `object ${tip} is missing`));
    expect(shallow).toEqual([next]);
  });

  it("is not waited for while the server talks and talks", async () => {
    const talk = Buffer.concat(Array(64).fill(band(2, "x".repeat(60_000))));
    const { found } = await fetchFrom(withoutEnd(RESULT, packfile(), talk));
    expect(found).toMatchObject(failed("client/bad-answer", "says more than it sends"));
  });

  it("is given up with the signal, and nothing of it is left", async () => {
    const leaving = new AbortController();
    const { found, repository } = await fetchFrom(
      (_request, response) => {
        response.writeHead(200, RESULT);
        response.write(packfile(band(1, whole.subarray(0, 40))), () => leaving.abort());
      },
      {},
      { signal: leaving.signal },
    );
    expect(found).toMatchObject({ code: "base/aborted" });
    const snapshot = await repository.snapshot();
    expect(snapshot.objects.packs).toEqual([]);
    snapshot.release();
  });
});

describe("a push", () => {
  const head = { "Content-Type": "application/x-git-receive-pack-advertisement" };
  const result = { "Content-Type": "application/x-git-receive-pack-result" };
  const advertised = Buffer.concat([
    lines("# service=git-receive-pack\n"),
    FLUSH,
    lines(`${"0".repeat(40)} capabilities^{}\0report-status side-band-64k ofs-delta\n`),
    FLUSH,
  ]);
  const report = (...told: readonly string[]): Buffer =>
    Buffer.concat([band(1, Buffer.concat([lines(...told), FLUSH])), FLUSH]);

  async function pushTo(answer: Buffer | Script, options: RemoteOptions = {}): Promise<unknown> {
    const server = await serve((request, response, body) => {
      if (request.method === "GET") response.writeHead(200, head).end(advertised);
      else if (typeof answer === "function") return answer(request, response, body);
      else response.writeHead(200, result).end(answer);
      return undefined;
    });
    const repository = await createMemoryRepositoryStore().create("source");
    const quarantine = await repository.openQuarantine();
    await ingestPack({
      quarantine,
      objects: quarantine.objects,
      source: oneChunk(madePack()),
      objectFormat: "sha1",
      limits: DEFAULT_LIMITS,
      collisionDetection: false,
      maxInputSizeBytes: Infinity,
    });
    await quarantine.publish();
    await quarantine.discard();
    const snapshot = await repository.snapshot();
    const remote = openRemote(`${withSecret(server.url)}/app.git`, options);
    try {
      const newOid = hashObject("sha1", "blob", Buffer.from("a blob\n"));
      return await remote.push({ from: snapshot, updates: [{ name: "refs/tags/x", newOid }] });
    } catch (error) {
      expect((error as Error).message).not.toContain(SECRET);
      return error;
    } finally {
      remote.close();
      snapshot.release();
    }
  }

  it.each<[string, Buffer, string]>([
    [
      "says nothing of it",
      report("unpack ok\n", "ok refs/tags/y\n"),
      "the server did not say what became of it",
    ],
    ["refuses it", report("unpack ok\n", "ng refs/tags/x not \x1bhere\n"), "not ?here"],
    ["could not unpack it", report("unpack no room\n", "ng refs/tags/x failed\n"), "failed (no room)"],
  ])("to a server that %s is refused", async (_what, answer, reason) => {
    expect(await pushTo(answer)).toEqual({
      updates: [{ name: "refs/tags/x", ok: false, by: "server", reason }],
    });
  });

  it("comes to its report in whichever pieces", async () => {
    const whole = Buffer.concat([lines("unpack ok\n", "ok refs/tags/x\n"), FLUSH]);
    const pieces = [...whole].flatMap((byte) => [band(2, "."), band(1, Buffer.of(byte))]);
    expect(await pushTo(Buffer.concat([...pieces, FLUSH]))).toMatchObject({ updates: [{ ok: true }] });
  });

  it.each<[string, Buffer | Script, string, string]>([
    ["garbage", band(1, "hello"), "client/bad-answer", "does not speak git's protocol"],
    ["another band", encodePktLine("\x07x"), "client/bad-answer", "does not speak git's protocol"],
    ["nothing", FLUSH, "client/unreachable", "before it had said what became of the push"],
    ["a last message", band(3, "out of \x1broom\n"), "client/refused", "said: out of ?room"],
    [
      "too long a report",
      Buffer.concat(Array(20).fill(band(1, lines("x".repeat(60_000))))),
      "client/bad-answer",
      "is too long",
    ],
    [
      "413",
      (_request, response) => void response.writeHead(413).end(),
      "client/refused",
      "does not take as much",
    ],
    [
      "a redirect",
      (_request, response) => void response.writeHead(307, { Location: "http://127.0.0.1:1/" }).end(),
      "client/bad-answer",
      "where nothing is followed",
    ],
    [
      "an end",
      (request) => void request.socket.destroy(),
      "client/unreachable",
      "the connection to the other side broke off",
    ],
  ])("that is answered with %s fails", async (_what, answer, code, words) => {
    expect(await pushTo(answer)).toMatchObject(failed(code, words));
  });

  it("is not waited for without end", async () => {
    // What it asks first is answered.
    expect(await pushTo(() => undefined, { idleTimeoutMs: 500 })).toMatchObject(
      failed("client/unreachable", "has given no answer"),
    );
  });

  it("is given up with its signal", async () => {
    const leaving = new AbortController();
    expect(await pushTo(() => leaving.abort(), { signal: leaving.signal })).toMatchObject({
      code: "base/aborted",
    });
  });
});

it("a server that answers early is not taken for silent while there is something to be sent", async () => {
  const server = createServer((request, response) => {
    response.writeHead(200, { "Content-Type": "application/x-git-receive-pack-result" }).write("begun");
    request.resume();
    request.on("end", () => response.end("ended"));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const transport = createHttpTransport(`http://127.0.0.1:${port}/app.git`, { idleTimeoutMs: 500 });
  try {
    const call = { service: "git-receive-pack", protocol: 0, answerBytesMax: 100 } as const;
    const post = await transport.openPost(call);
    await post.write(Buffer.from("0000"));
    const answer = (await post.answer())[Symbol.asyncIterator]();
    const next = async (): Promise<string> => Buffer.from((await answer.next()).value ?? []).toString();
    expect(await next()).toBe("begun");
    const rest = next();
    // More than silence is allowed.
    await setTimeout(1200);
    await post.write(Buffer.from("0000"));
    post.end();
    expect(await rest).toBe("ended");
    expect((await answer.next()).done).toBe(true);
  } finally {
    transport.close();
    server.closeAllConnections();
    server.close();
  }
});

async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield bytes;
}

/** One blob. */
function madePack(): Buffer {
  const body = Buffer.concat([formatPackHeader(1), formatEntry("blob", Buffer.from("a blob\n"))]);
  return Buffer.concat([body, createHash("sha1").update(body).digest()]);
}

function emptyPack(): Buffer {
  // PACK, version 2, no objects, and its SHA-1.
  return Buffer.from("5041434b0000000200000000029d08823bd8a8eab510ad6ac75c823cfd3ed31e", "hex");
}

it("URLs that are none, or say too much, show no password", () => {
  for (const url of [
    `https://ada:${SECRET}@example.com:x/app`,
    `https://ada:${SECRET}/@example.com/app`,
    `ssh://ada:${SECRET}@example.com/app`,
    `https://ada:${SECRET}@example.com/app?x=1`,
    `https://ada:${SECRET}%zz@example.com/app`,
  ]) {
    let message = "";
    try {
      openRemote(url).close();
    } catch (error) {
      message = error instanceof Error ? error.message : "";
      expect(error).toMatchObject({ code: "server/bad-configuration" });
    }
    expect(message).toContain("example.com");
    expect(message).not.toContain(SECRET);
  }
});
