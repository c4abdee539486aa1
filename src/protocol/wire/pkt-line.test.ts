import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GitwharfError } from "../../base/errors.js";
import {
  DELIM,
  encodePktLine,
  FLUSH,
  formatPktText,
  type Packet,
  packetText,
  PKT_LINE_BYTES_MAX,
  PktLineReader,
  RESPONSE_END,
} from "./pkt-line.js";

const LIMITS = { totalBytesMax: 1 << 20, limitName: "requestBytesMax" };

async function* chunksOf(bytes: Uint8Array, cuts: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (const cut of [...cuts].sort((a, b) => a - b)) {
    const end = Math.min(bytes.length, Math.max(at, cut));
    yield bytes.subarray(at, end);
    at = end;
  }
  yield bytes.subarray(at);
}

/** Everything up to the end of the stream, or the code of what stopped it. */
async function readAll(
  bytes: Uint8Array,
  cuts: readonly number[] = [],
  limits = LIMITS,
): Promise<readonly unknown[]> {
  const reader = new PktLineReader(chunksOf(bytes, cuts), limits);
  const packets: unknown[] = [];
  try {
    for (;;) {
      const packet = await reader.next();
      packets.push(packet.kind === "data" ? packet.payload.toString("latin1") : packet.kind);
      if (packet.kind === "eof") return packets;
    }
  } catch (error) {
    expect(error).toBeInstanceOf(GitwharfError);
    const { code, kind, message } = error as GitwharfError;
    expect(kind).toBe("peer");
    return [...packets, `${code}: ${message}`];
  }
}

const packet = fc.oneof(
  fc.constantFrom(FLUSH, DELIM, RESPONSE_END),
  fc.uint8Array({ maxLength: 300 }).map((payload) => encodePktLine(payload)),
);

describe("PktLineReader", () => {
  it("reads the same packets however the bytes are cut, and they are those that were written", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(packet, { maxLength: 20 }),
        fc.array(fc.nat(2000), { maxLength: 40 }),
        async (packets, cuts) => {
          const bytes = Buffer.concat(packets);
          const whole = await readAll(bytes);
          expect(await readAll(bytes, cuts)).toEqual(whole);
          expect(
            await readAll(
              bytes,
              Array.from(bytes, (_, i) => i),
            ),
          ).toEqual(whole);
          expect(whole).toHaveLength(packets.length + 1);
          const again = whole.slice(0, -1).map((item) => encodeAgain(item as string));
          expect(Buffer.concat(again)).toEqual(bytes);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("answers any bytes with packets or a peer's error, the same however they are cut", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.uint8Array({ maxLength: 200 }),
          fc.stringMatching(/^[0-9a-f]{0,60}$/).map((text) => Buffer.from(text)),
        ),
        fc.array(fc.nat(200), { maxLength: 20 }),
        async (bytes, cuts) => {
          expect(await readAll(bytes, cuts)).toEqual(await readAll(bytes));
        },
      ),
      { numRuns: 500 },
    );
  });

  it("says where a bad length stands", async () => {
    for (const bad of ["0003", "fff1", "ffff", "00g0", "    ", "-001", "+005", "PACK"]) {
      const answer = await readAll(Buffer.from(`0006a\n0000${bad}rest`));
      expect(answer).toEqual([
        "a\n",
        "flush",
        `protocol/bad-line: bad line length "${bad}" at byte 10 of the request`,
      ]);
    }
  });

  it("takes the longest packet, and upper-case digits", async () => {
    const longest = encodePktLine(Buffer.alloc(PKT_LINE_BYTES_MAX - 4, "x"));
    expect(longest.toString("latin1", 0, 4)).toBe("fff0");
    const upper = Buffer.concat([Buffer.from("FFF0"), longest.subarray(4)]);
    const [first, second] = await readAll(Buffer.concat([longest, upper]));
    expect(first).toHaveLength(65_516);
    expect(second).toBe(first);
  });

  it("tells a stream that ends inside a packet from one that ends between two", async () => {
    expect(await readAll(Buffer.from("0004"))).toEqual(["", "eof"]);
    for (const cut of ["0", "00", "000", "0008abc"]) {
      const [problem] = await readAll(Buffer.from(cut));
      expect(problem).toMatch(/^base\/truncated: .* at byte 0$/);
    }
  });

  it("stops one byte past the limit, counted for each request", async () => {
    const line = encodePktLine("x".repeat(96));
    const atLimit = await readAll(Buffer.concat([line, line]), [], { ...LIMITS, totalBytesMax: 200 });
    expect(atLimit.at(-1)).toBe("eof");
    const past = await readAll(Buffer.concat([line, line]), [], { ...LIMITS, totalBytesMax: 199 });
    expect(past.at(-1)).toMatch(
      /^base\/limit-exceeded: the request has more than 199 bytes.*requestBytesMax/,
    );

    const reader = new PktLineReader(chunksOf(Buffer.concat([line, line, line]), []), {
      ...LIMITS,
      totalBytesMax: 200,
    });
    await reader.next();
    reader.beginRequest();
    await reader.next();
    expect((await reader.next()).kind).toBe("data");
  });

  it("does not wait for a packet that it was only promised", async () => {
    async function* never(): AsyncGenerator<Uint8Array> {
      yield Buffer.from("ffffx");
      throw new Error("it asked for more");
    }
    const reader = new PktLineReader(never(), LIMITS);
    await expect((async () => reader.next())()).rejects.toMatchObject({ code: "protocol/bad-line" });
  });

  it("answers at once what has arrived, and goes on with the raw bytes behind it", async () => {
    const reader = new PktLineReader(chunksOf(Buffer.from("0006a\n0006b\n0000PACKbytes"), [14, 20]), LIMITS);
    expect(await reader.next()).toMatchObject({ kind: "data" });
    const second = reader.next();
    expect(second).not.toBeInstanceOf(Promise);
    expect(packetText((second as Packet & { kind: "data" }).payload)).toBe("b");
    expect((await reader.next()).kind).toBe("flush");
    const rest: Uint8Array[] = [];
    for await (const chunk of reader.rest()) rest.push(chunk);
    expect(Buffer.concat(rest).toString()).toBe("PACKbytes");
  });

  it("joins a packet that comes byte by byte in linear time", async () => {
    const line = encodePktLine(Buffer.alloc(65_000, "y"));
    async function* bytewise(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < line.length; i++) yield line.subarray(i, i + 1);
    }
    const start = performance.now();
    const reader = new PktLineReader(bytewise(), LIMITS);
    expect((await reader.next()).kind).toBe("data");
    // Copied anew for each byte this would be two gigabytes.
    expect(performance.now() - start).toBeLessThan(1500);
  });

  it("releases the source", async () => {
    let released = false;
    async function* source(): AsyncGenerator<Uint8Array> {
      try {
        yield FLUSH;
        yield FLUSH;
      } finally {
        released = true;
      }
    }
    const reader = new PktLineReader(source(), LIMITS);
    await reader.next();
    await reader.close();
    expect(released).toBe(true);
  });
});

describe("formatPktText", () => {
  it("counts bytes, not characters", () => {
    expect(formatPktText("é\n")).toBe("0007é\n");
    expect(formatPktText("x".repeat(65_516))).toMatch(/^fff0/);
    expect(formatPktText("x".repeat(65_517))).toBeUndefined();
    expect(() => encodePktLine("x".repeat(65_517))).toThrow(GitwharfError);
  });
});

function encodeAgain(item: string): Buffer {
  if (item === "flush") return FLUSH;
  if (item === "delim") return DELIM;
  if (item === "response-end") return RESPONSE_END;
  return encodePktLine(Buffer.from(item, "latin1"));
}
