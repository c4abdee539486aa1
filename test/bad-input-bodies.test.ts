/** Bodies that are not what their head says: gzip of many wrong kinds, lengths that lie, chunks that are none. */
import { randomBytes } from "node:crypto";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { openRequest, postHead } from "./support/open-request.js";
import { pktLine, send } from "./support/raw-http.js";
import {
  formatCommands,
  pushOfBlob,
  RECEIVE_PACK_TYPE,
  UPLOAD_PACK_TYPE,
  blobOid,
} from "./support/raw-push.js";
import { settled } from "./support/settled.js";

const LS_REFS = `${pktLine("command=ls-refs\n")}0001${pktLine("symrefs")}0000`;
const CLOSE = ["Connection: close"];
const GZIP = ["Content-Encoding: gzip", ...CLOSE];
const MiB = 2 ** 20;

describe("bodies that lie", () => {
  let server: TestServer;
  const errors: unknown[] = [];

  beforeAll(async () => {
    server = await createTestServer({
      limits: { requestBytesMax: MiB, packSizeBytesMax: MiB, commandBytesMax: MiB },
      log: ({ level, error, message }) => {
        if (level === "error") errors.push(error ?? message);
      },
    });
    const headers = { "Content-Type": RECEIVE_PACK_TYPE };
    await send(`${server.urlOf("app")}/git-receive-pack`, { body: pushOfBlob("seed", "seed"), headers });
  });
  afterAll(() => server.close());

  async function goesOn(): Promise<void> {
    const headers = { "Content-Type": UPLOAD_PACK_TYPE, "Git-Protocol": "version=2" };
    const { body } = await send(`${server.urlOf("app")}/git-upload-pack`, { body: LS_REFS, headers });
    expect(body.toString()).toMatch(/^003c[0-9a-f]{40} refs\/tags\/seed\n0000$/);
    await settled(server.server);
    expect(errors).toEqual([]);
  }

  /** Sends all, ends the writing side when told so, and answers with what came back. */
  async function converse(bytes: Buffer | string, options: { readonly end?: boolean } = {}): Promise<string> {
    const request = await openRequest(server.url, bytes);
    if (options.end === true) request.socket.end();
    return request.closed;
  }

  function gzipped(
    service: "git-upload-pack" | "git-receive-pack",
    body: Buffer,
    length = body.length,
  ): Buffer {
    return Buffer.concat([Buffer.from(postHead(service, { length, headers: GZIP })), body]);
  }

  describe("gzip", () => {
    it("is read to the limit and not beyond when it inflates to a thousand times its size", async () => {
      const lines = `${pktLine("command=ls-refs\n")}0001${pktLine("ref-prefix refs/heads/").repeat(100_000)}0000`;
      const bomb = gzipSync(lines);
      expect(bomb.length).toBeLessThan(10_000);
      expect(await converse(gzipped("git-upload-pack", bomb))).toMatch(/ERR .*limit \(requestBytesMax\)/);
      const commands = formatCommands(
        Array.from({ length: 12_000 }, () => ({ newOid: blobOid("x"), name: "refs/tags/x" })),
      );
      const second = gzipSync(commands);
      expect(second.length).toBeLessThan(10_000);
      expect(await converse(gzipped("git-receive-pack", second))).toMatch(/ERR .*limit \(commandBytesMax\)/);
      const pack = Buffer.concat([
        Buffer.from(formatCommands([{ newOid: blobOid("x"), name: "refs/tags/x" }])),
        Buffer.from("PACK\0\0\0\x02\0\0\0\x01"),
        Buffer.alloc(64 * MiB),
      ]);
      expect(await converse(gzipped("git-receive-pack", gzipSync(pack)))).toMatch(/unpack (?!ok)/);
      await goesOn();
    });

    it("is refused when it is truncated, changed, no gzip, or gzip in gzip", async () => {
      const whole = gzipSync(LS_REFS);
      for (let end = 0; end < whole.length; end++) {
        const answer = await converse(gzipped("git-upload-pack", whole.subarray(0, end)));
        expect(answer).toMatch(/^HTTP\/1.1 (400|200)/);
        // All but the trailer may be there.
        if (end < whole.length - 8 && end > 0) expect(answer).toMatch(/ERR|400/);
      }
      for (let at = 0; at < whole.length; at++) {
        const changed = Buffer.from(whole);
        changed[at] = (changed[at] ?? 0) ^ 0x55;
        expect(await converse(gzipped("git-upload-pack", changed))).toMatch(/^HTTP\/1.1 (400|200)/);
      }
      expect(await converse(gzipped("git-upload-pack", Buffer.from(LS_REFS)))).toContain("not valid gzip");
      expect(await converse(gzipped("git-upload-pack", gzipSync(whole)))).toMatch(/ERR bad line length/);
      await goesOn();
    });

    it("is taken in several members, as the format allows", async () => {
      const cut = Buffer.concat([gzipSync(LS_REFS.slice(0, 9)), gzipSync(LS_REFS.slice(9))]);
      expect(await converse(gzipped("git-upload-pack", cut))).toContain("refs/tags/seed");
    });

    it.each(["deflate", "br", "gzip, gzip", "gzip;q=1", "x".repeat(200)])("is not %s", async (encoding) => {
      const headers = [`Content-Encoding: ${encoding}`, ...CLOSE];
      const head = postHead("git-upload-pack", { length: LS_REFS.length, headers });
      expect(await converse(head + LS_REFS)).toMatch(/^HTTP\/1.1 400 .*is not supported/s);
      await goesOn();
    });
  });

  describe("Content-Length", () => {
    it("that is longer than the body: the client has left", async () => {
      const answer = converse(
        postHead("git-upload-pack", { length: 1000, headers: CLOSE }) + LS_REFS.slice(0, 30),
        {
          end: true,
        },
      );
      expect(await answer).toMatch(/^$|400|ERR/);
      await goesOn();
    });
    it("that is shorter than the body: what follows is no request", async () => {
      const head = postHead("git-upload-pack", { length: 30 });
      expect(await converse(head + LS_REFS)).toMatch(/HTTP\/1.1 400 Bad Request/);
      await goesOn();
    });
    it.each(["-1", "1e3", "0x10", "99999999999999999999999", "1, 2", "x", ""])("%s", async (length) => {
      const head = postHead("git-upload-pack", { length, headers: CLOSE });
      expect(await converse(head + LS_REFS, { end: true })).toMatch(/^HTTP\/1.1 400|ERR |^$/);
      await goesOn();
    });
    it("twice, or beside chunks", async () => {
      for (const other of ["Content-Length: 5", "Transfer-Encoding: chunked"]) {
        const head = postHead("git-upload-pack", { length: LS_REFS.length, headers: [other, ...CLOSE] });
        expect(await converse(head + LS_REFS)).toMatch(/^HTTP\/1.1 400 Bad Request/);
      }
      await goesOn();
    });
    it("none at all: an empty body", async () => {
      expect(await converse(postHead("git-upload-pack", { headers: CLOSE }))).toMatch(/^HTTP\/1.1 200/);
      await goesOn();
    });
  });

  describe("chunks", () => {
    const chunked = postHead("git-upload-pack", { headers: ["Transfer-Encoding: chunked", ...CLOSE] });
    const size = LS_REFS.length.toString(16);

    it("of any size", async () => {
      const bytes = LS_REFS.split("")
        .map((byte) => `1\r\n${byte}\r\n`)
        .join("");
      expect(await converse(`${chunked}${bytes}0\r\n\r\n`)).toContain("refs/tags/seed");
      expect(
        await converse(`${chunked}${size};name=value\r\n${LS_REFS}\r\n0\r\nTrailer: x\r\n\r\n`),
      ).toContain("refs/tags/seed");
    });
    it.each([
      ["a size that is no number", `zz\r\n${LS_REFS}\r\n0\r\n\r\n`],
      ["a negative size", `-1\r\n${LS_REFS}\r\n0\r\n\r\n`],
      ["a size past all numbers", `${"f".repeat(40)}\r\n${LS_REFS}\r\n0\r\n\r\n`],
      ["a chunk that is longer than its size", `4\r\n${LS_REFS}\r\n0\r\n\r\n`],
      ["no end of line behind a chunk", `4\r\n${LS_REFS.slice(0, 4)}4\r\n${LS_REFS.slice(4, 8)}`],
      ["endless extensions", `4;${"x".repeat(100_000)}\r\n0000\r\n0\r\n\r\n`],
      ["endless trailers", `4\r\n0014\r\n0\r\n${"A: b\r\n".repeat(50_000)}\r\n`],
    ])("with %s", async (_what, bytes) => {
      const answer = await converse(chunked + bytes, { end: true });
      expect(answer).toMatch(/^$|^HTTP\/1.1 (400|413|431)|ERR/);
      expect(answer).not.toContain("refs/tags/seed");
      await goesOn();
    });
    it("that never end: the client has left", async () => {
      expect(await converse(`${chunked}10\r\n${LS_REFS.slice(0, 10)}`, { end: true })).not.toContain(
        "refs/tags",
      );
      await goesOn();
    });
  });

  describe("heads", () => {
    it.each([
      ["Expect: 200-maybe", /^HTTP\/1.1 417/],
      ["Transfer-Encoding: identity", /^HTTP\/1.1 400/],
      ["Transfer-Encoding: gzip", /^HTTP\/1.1 400/],
      ["No colon", /^HTTP\/1.1 400/],
      ["Bad name: x", /^HTTP\/1.1 400/],
      ["X-Control: a\u0001b", /^HTTP\/1.1 400/],
      ["Git-Protocol: version=99999999999999:version=-1:=:::", /^HTTP\/1.1 200/],
      ["Authorization: Basic !!!", /^HTTP\/1.1 200/],
      [`Authorization: Basic ${"QQ".repeat(5000)}`, /^HTTP\/1.1 200/],
    ])("%s", async (line, expected) => {
      const length = LS_REFS.length;
      const head = postHead("git-upload-pack", { length, headers: [line, ...CLOSE] });
      expect(await converse(head + LS_REFS, { end: true })).toMatch(expected);
      await goesOn();
    });
    it("Expect: 100-continue, and then nothing", async () => {
      const head = postHead("git-receive-pack", { length: 100, headers: ["Expect: 100-continue", ...CLOSE] });
      const request = await openRequest(server.url, head);
      await request.seen(/^HTTP\/1.1 100 Continue/);
      request.socket.destroy();
      await request.closed;
      await goesOn();
    });
  });

  it.each(
    ["as it is", "in chunks", "with gzip"].flatMap(
      (way) =>
        [
          [way, 60_000],
          [way, 300_000],
          [way, 4 * MiB],
        ] as const,
    ),
  )(
    "answers before the end of a body sent %s, reads the rest of %i bytes, and serves the next request",
    async (way, length) => {
      // Random, so that it stays as long with gzip.
      const junk = Buffer.concat([Buffer.from(pktLine("command=nothing\n")), randomBytes(length)]);
      const body = way === "with gzip" ? gzipSync(junk) : junk;
      const size = body.length.toString(16);
      const sent =
        way === "in chunks"
          ? [
              postHead("git-upload-pack", { headers: ["Transfer-Encoding: chunked"] }),
              `${size}\r\n`,
              body,
              "\r\n0\r\n\r\n",
            ]
          : [
              postHead("git-upload-pack", {
                length: body.length,
                headers: way === "with gzip" ? ["Content-Encoding: gzip"] : [],
              }),
              body,
            ];
      const next = postHead("git-upload-pack", { length: LS_REFS.length, headers: CLOSE }) + LS_REFS;
      const request = await openRequest(server.url, Buffer.concat(sent.map((part) => Buffer.from(part))));
      await request.seen(/ERR .*\r\n0\r\n\r\n$/s);
      request.write(next);
      expect(await request.closed).toContain("refs/tags/seed");
      await goesOn();
    },
  );

  it("takes requests one behind the other on one connection, up to one that is broken", async () => {
    const one = postHead("git-upload-pack", { length: LS_REFS.length }) + LS_REFS;
    const last = postHead("git-upload-pack", { length: LS_REFS.length, headers: CLOSE }) + LS_REFS;
    const answers = await converse(`${one}${one}${last}`);
    expect(answers.match(/HTTP\/1.1 200/g)).toHaveLength(3);
    expect(answers.match(/refs\/tags\/seed/g)).toHaveLength(3);
    const broken = await openRequest(server.url, one);
    await broken.seen(/refs\/tags\/seed/);
    broken.write(`BROKEN\r\n\r\n${one}`);
    expect(await broken.closed).toMatch(/HTTP\/1.1 400 Bad Request\r\n(?!.*HTTP)/s);
    await goesOn();
  });
});
