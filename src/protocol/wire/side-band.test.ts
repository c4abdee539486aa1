import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PktLineReader } from "./pkt-line.js";
import {
  createSideBandWriter,
  parseSideBand,
  serializeSideBand,
  SIDE_BAND_64K_BYTES_MAX,
  SIDE_BAND_BYTES_MAX,
} from "./side-band.js";

function collect(): {
  readonly chunks: Uint8Array[];
  readonly writes: number[];
  write(...chunks: Uint8Array[]): void;
} {
  const chunks: Uint8Array[] = [];
  const writes: number[] = [];
  return {
    chunks,
    writes,
    write(...more) {
      chunks.push(...more);
      writes.push(more.length);
    },
  };
}

async function bandsOf(chunks: readonly Uint8Array[]): Promise<{ band: number; data: Buffer }[]> {
  async function* source(): AsyncGenerator<Uint8Array> {
    yield Buffer.concat(chunks);
  }
  const reader = new PktLineReader(source(), { totalBytesMax: 1 << 30, limitName: "requestBytesMax" });
  const frames: { band: number; data: Buffer }[] = [];
  for (;;) {
    const packet = await reader.next();
    if (packet.kind !== "data") return frames;
    frames.push(parseSideBand(packet.payload));
  }
}

describe("createSideBandWriter", () => {
  it("carries any bytes in frames of at most the size that git sends", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(3000), { maxLength: 6 }),
        fc.constantFrom(SIDE_BAND_BYTES_MAX, SIDE_BAND_64K_BYTES_MAX),
        async (sizes, dataBytesMax) => {
          const sink = collect();
          const chunks = sizes.map((size, i) => Buffer.alloc(size, 97 + i));
          await createSideBandWriter(sink, { dataBytesMax }).data(...chunks);
          const frames = await bandsOf(sink.chunks);
          expect(
            frames.every(({ band, data }) => band === 1 && data.length > 0 && data.length <= dataBytesMax),
          ).toBe(true);
          expect(Buffer.concat(frames.map(({ data }) => data))).toEqual(Buffer.concat(chunks));
        },
      ),
      { numRuns: 100 },
    );
  });

  it("has git's own frame sizes", async () => {
    for (const [dataBytesMax, head] of [
      [SIDE_BAND_64K_BYTES_MAX, "fff0"],
      [SIDE_BAND_BYTES_MAX, "03e8"],
    ] as const) {
      const sink = collect();
      await createSideBandWriter(sink, { dataBytesMax }).data(Buffer.alloc(dataBytesMax + 1));
      expect(Buffer.from(sink.chunks[0] as Uint8Array).toString("latin1")).toBe(`${head}\x01`);
      expect(Buffer.from(sink.chunks[2] as Uint8Array).toString("latin1")).toBe("0006\x01");
    }
  });

  it("does not copy, and hands a sink no more than some frames at once", async () => {
    const sink = collect();
    const data = Buffer.alloc(10 * 1024 * 1024);
    await createSideBandWriter(sink, { dataBytesMax: SIDE_BAND_BYTES_MAX }).data(data);
    expect(sink.chunks[1]?.buffer).toBe(data.buffer);
    expect(Math.max(...sink.writes)).toBe(128);
    expect(sink.writes.length).toBeGreaterThan(80);
  });

  it("waits for a slow reader between writes", async () => {
    let pending = 0;
    let most = 0;
    const sink = {
      async write(): Promise<void> {
        most = Math.max(most, ++pending);
        await new Promise((resolve) => setImmediate(resolve));
        pending--;
      },
    };
    await createSideBandWriter(sink, { dataBytesMax: 995 }).data(Buffer.alloc(1_000_000));
    expect(most).toBe(1);
  });

  it("keeps terminals safe on bands 2 and 3, and says nothing of a peer's own", async () => {
    const sink = collect();
    const bands = createSideBandWriter(sink, { dataBytesMax: 995 });
    await bands.progress("a\x1b[31mred\x07\r\n");
    await bands.keepAlive();
    await bands.fatal("no\x9b");
    await bands.flush();
    expect(Buffer.concat(sink.chunks).toString("utf8")).toBe("0011\x02a?[31mred?\r\n0005\x020008\x03no?0000");
  });

  it("sends nothing for nothing", async () => {
    const sink = collect();
    const bands = createSideBandWriter(sink, { dataBytesMax: 995 });
    await bands.data();
    await bands.data(Buffer.alloc(0));
    await bands.progress("");
    expect(sink.writes).toEqual([]);
  });
});

describe("parseSideBand", () => {
  it("knows three bands", () => {
    expect(parseSideBand(Buffer.from("\x02hi"))).toEqual({ band: 2, data: Buffer.from("hi") });
    for (const bad of ["", "\0x", "\x04x", "Error"]) {
      expect(() => parseSideBand(Buffer.from(bad))).toThrow(
        expect.objectContaining({ code: "protocol/bad-request" }),
      );
    }
  });
});

describe("serializeSideBand", () => {
  it("keeps writers apart, drops signs of life while the reader is slow, and reports a failed write", async () => {
    const written: string[] = [];
    let slow = true;
    const serial = serializeSideBand(
      createSideBandWriter(
        {
          async write(...chunks): Promise<void> {
            if (slow) await new Promise((resolve) => setTimeout(resolve, 5));
            written.push(Buffer.concat(chunks).toString("latin1"));
            if (written.length === 4) throw new Error("gone");
          },
        },
        { dataBytesMax: 995 },
      ),
    );
    const first = serial.data(Buffer.from("1"));
    const second = serial.progress("2");
    await serial.keepAlive();
    await serial.data(Buffer.from("3"));
    await Promise.all([first, second]);
    expect(written).toEqual(["0006\x011", "0006\x022", "0006\x013"]);
    slow = false;
    void Promise.resolve(serial.progress("4")).catch(() => undefined);
    await expect(serial.settled()).rejects.toThrow("gone");
    expect(() => serial.data(Buffer.from("5"))).toThrow("gone");
  });
});
