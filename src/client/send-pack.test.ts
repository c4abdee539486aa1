/** What a server may answer to a push; that real ones are understood is shown by the tests of builds in dynos. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GitwharfError } from "../base/errors.js";
import { encodePktLine, FLUSH } from "../protocol/wire/pkt-line.js";
import { RemoteGitFailure } from "./remote-git-failure.js";
import { openPush, type RemoteUpdate } from "./send-pack.js";

const OLD = "1".repeat(40);
const NEW = "2".repeat(40);
const MAIN = "refs/heads/main";
const CAPABILITIES = "report-status side-band-64k ofs-delta agent=other/1";

const advertised = (capabilities = CAPABILITIES): Buffer =>
  Buffer.concat([encodePktLine(`${OLD} ${MAIN}\0${capabilities}\n`), FLUSH]);
const band = (number: number, data: Uint8Array | string): Buffer =>
  encodePktLine(Buffer.concat([Buffer.from([number]), Buffer.from(data)]));
const report = (...lines: readonly string[]): Buffer =>
  Buffer.concat([...lines.map((line) => encodePktLine(`${line}\n`)), FLUSH]);

async function push(
  answer: Buffer,
  {
    cut = answer.length,
    pack = packOf("PACK"),
    capabilities = CAPABILITIES,
  }: { cut?: number; pack?: AsyncIterable<Uint8Array>; capabilities?: string } = {},
) {
  const whole = Buffer.concat([advertised(capabilities), answer]);
  async function* input(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < whole.length; at += Math.max(1, cut))
      yield whole.subarray(at, at + Math.max(1, cut));
  }
  const written: Uint8Array[] = [];
  let printed = "";
  const opened = await openPush({ input: input(), write: (bytes) => void written.push(bytes) }, "sha1");
  const updates: readonly RemoteUpdate[] = [{ name: MAIN, oldOid: OLD, newOid: NEW }];
  try {
    const result = await opened.send({
      updates,
      shallow: [OLD],
      agent: "ours/1",
      pack,
      onProgress: async (bytes) => void (printed += Buffer.from(bytes).toString()),
    });
    return { result, printed: () => printed, sent: () => Buffer.concat(written).toString("latin1") };
  } finally {
    await opened.settled();
  }
}

async function* packOf(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

describe("the sending side of receive-pack", () => {
  it("sends the boundary, commands, a flush and the pack", async () => {
    const { result, sent } = await push(Buffer.concat([band(1, report("unpack ok", `ok ${MAIN}`)), FLUSH]));
    expect(result).toEqual({ unpackFailure: undefined, refs: new Map([[MAIN, undefined]]) });
    const command = `${OLD} ${NEW} ${MAIN}\0 report-status side-band-64k ofs-delta agent=ours/1`;
    expect(sent()).toBe(
      `${encodePktLine(`shallow ${OLD}`).toString()}${encodePktLine(command).toString()}0000PACK`,
    );
  });

  it("removes refs without a pack, with options, all or none, and says where its request ends", async () => {
    const capabilities = `${CAPABILITIES} report-status-v2 atomic push-options delete-refs`;
    async function* input(): AsyncGenerator<Uint8Array> {
      yield advertised(capabilities);
      const lines = [
        "unpack ok",
        `ok ${MAIN}`,
        "option refname refs/heads/x",
        `option new-oid ${NEW}`,
        `ok ${MAIN}`,
      ];
      yield Buffer.concat([band(1, report(...lines, "option forced-update")), FLUSH]);
    }
    const written: string[] = [];
    const { send } = await openPush(
      {
        input: input(),
        write: (bytes) => void written.push(Buffer.from(bytes).toString("latin1")),
        end: () => void written.push("END"),
      },
      "sha1",
    );
    const nothing = "0".repeat(40);
    const result = await send({
      updates: [{ name: MAIN, oldOid: OLD, newOid: nothing }],
      shallow: [],
      agent: "ours/1",
      pack: undefined,
      atomic: true,
      pushOptions: ["a=b", "c"],
      onProgress: () => undefined,
    });
    const ours = "report-status-v2 side-band-64k ofs-delta atomic push-options agent=ours/1";
    const command = encodePktLine(`${OLD} ${nothing} ${MAIN}\0 ${ours}`).toString();
    expect(written.join("")).toBe(`${command}00000007a=b0005c0000END`);
    expect(result).toEqual({
      unpackFailure: undefined,
      refs: new Map([[MAIN, undefined]]),
      substitutes: new Map([[MAIN, [{ refName: "refs/heads/x", newOid: NEW }, { forcedUpdate: true }]]]),
    });
  });

  it.each([
    ["atomic", { atomic: true }],
    ["push-options", { pushOptions: ["x"] }],
    ["delete-refs", { updates: [{ name: MAIN, oldOid: OLD, newOid: "0".repeat(40) }] }],
  ])("asks for %s only where it is there", async (name, wish) => {
    async function* input(): AsyncGenerator<Uint8Array> {
      yield advertised();
    }
    const { send } = await openPush({ input: input(), write: () => undefined }, "sha1");
    const request = { updates: [], shallow: [], agent: "x", pack: undefined, onProgress: () => undefined };
    await expect(send({ ...request, ...wish })).rejects.toThrow(`the other side does not have ${name}`);
  });

  it("reads a report however it is cut, and what is printed before and behind it", async () => {
    const lines = report("unpack ok", `ok ${MAIN}`, "option forced-update", "ng refs/tags/x hook declined");
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 90 }),
        fc.integer({ min: 1, max: 90 }),
        async (cut, piece) => {
          const pieces: Buffer[] = [band(2, "before\n"), band(2, "")];
          for (let at = 0; at < lines.length; at += piece)
            pieces.push(band(1, lines.subarray(at, at + piece)));
          const { result, printed } = await push(Buffer.concat([...pieces, band(2, "behind\n"), FLUSH]), {
            cut,
          });
          expect(result.refs.get("refs/tags/x")).toBe("hook declined");
          expect(result.refs.has(MAIN)).toBe(true);
          expect(printed()).toBe("before\nbehind\n");
        },
      ),
    );
  });

  it("takes a report that is whole for what became of it, whatever breaks behind it", async () => {
    const { result } = await push(
      Buffer.concat([band(1, report("unpack index-pack failed")), Buffer.from("00")]),
    );
    expect(result.unpackFailure).toBe("index-pack failed");
  });

  it.each([
    ["nothing", Buffer.alloc(0), "broke off before it had said"],
    ["half a line", Buffer.from("00ff\x01"), "broke off in the middle of a line"],
    ["a flush", FLUSH, "broke off before it had said"],
    ["a last message", band(3, "out of disk\x1b\n"), "the other side said: out of disk?"],
    ["no band", encodePktLine("\x07x"), "does not speak git's protocol"],
    ["no length", Buffer.from("hello there"), "does not speak git's protocol"],
    ["no report", Buffer.concat([band(1, report("hello")), FLUSH]), "does not speak git's protocol"],
    [
      "no end of a report",
      Buffer.concat(Array.from({ length: 20 }, () => band(1, encodePktLine("x".repeat(60_000))))),
      "too long",
    ],
  ])("says what is wrong with %s", async (_what, answer, expected) => {
    await expect(push(answer)).rejects.toThrow(expected);
    await expect(push(answer)).rejects.toBeInstanceOf(RemoteGitFailure);
  });

  it.each([
    ["report-status", "the other side does not have side-band-64k"],
    ["side-band-64k", "the other side does not have report-status"],
    [`${CAPABILITIES} object-format=sha256`, "repository is of sha256, ours of sha1"],
  ])("does not push to a server of %s", async (capabilities, expected) => {
    await expect(push(FLUSH, { capabilities })).rejects.toThrow(expected);
  });

  it("ends when the pack cannot be made, which the server would wait for", async () => {
    async function* input(): AsyncGenerator<Uint8Array> {
      yield advertised();
      await new Promise(() => undefined);
    }
    const { send } = await openPush({ input: input(), write: () => undefined }, "sha1");
    const sending = send({
      updates: [{ name: MAIN, oldOid: OLD, newOid: NEW }],
      shallow: [],
      agent: "ours/1",
      pack: {
        [Symbol.asyncIterator]: () => ({
          next: async () => {
            throw new GitwharfError("object/corrupt", "it is broken");
          },
        }),
      },
      onProgress: () => undefined,
    });
    await expect(sending).rejects.toThrow("it is broken");
  });

  it("says what the server says in place of its refs", async () => {
    async function* input(): AsyncGenerator<Uint8Array> {
      yield encodePktLine("ERR access denied\n");
    }
    await expect(openPush({ input: input(), write: () => undefined }, "sha1")).rejects.toThrow(
      "the other side said: access denied",
    );
  });

  it("takes no more refs than it may", async () => {
    async function* input(): AsyncGenerator<Uint8Array> {
      yield advertised().subarray(0, -FLUSH.length);
      const line = encodePktLine(`${OLD} refs/heads/${"x".repeat(60_000)}\n`);
      for (let lines = 0; lines < 300; lines++) yield line;
      yield FLUSH;
    }
    await expect(openPush({ input: input(), write: () => undefined }, "sha1")).rejects.toThrow(
      "the other side tells more than 16777216 bytes of refs",
    );
  });

  it("ends with any answer", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        await push(Buffer.from(bytes)).catch((error: unknown) =>
          expect(error).toBeInstanceOf(RemoteGitFailure),
        );
      }),
    );
  });
});
