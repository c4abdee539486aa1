/** Parts of an upload of any length, without a store: their sizes, their order, the memory they take. */
import { describe, expect, it } from "vitest";
import { createSharedBudget } from "../../../../base/shared-budget.js";
import { S3Upload, type S3UploadOptions, type UploadRequests } from "./s3-upload.js";

interface Sent {
  readonly numbers: number[];
  readonly sizes: number[];
  readonly bytes: Map<number, Buffer>;
  busiest: number;
  completed: readonly (number | undefined)[];
  cancelled: number;
}

function recorded(sent: Sent): UploadRequests {
  let busy = 0;
  return {
    put: async () => undefined,
    begin: async () => "upload",
    part: async (_upload, { number, body }) => {
      sent.busiest = Math.max(sent.busiest, ++busy);
      const copy = Buffer.from(body);
      await new Promise((resolve) => setImmediate(resolve));
      // As it was when it was given, though its memory is used again.
      expect(copy.equals(body)).toBe(true);
      sent.numbers.push(number);
      sent.sizes[number - 1] = body.length;
      sent.bytes.set(number, copy);
      busy--;
      return { PartNumber: number, ETag: `"${number}"` };
    },
    complete: async (_upload, parts) => {
      sent.completed = parts.map(({ PartNumber }) => PartNumber);
    },
    cancel: async () => {
      sent.cancelled++;
    },
  };
}

function open(more: Partial<S3UploadOptions> = {}): { readonly upload: S3Upload; readonly sent: Sent } {
  const sent: Sent = { numbers: [], sizes: [], bytes: new Map(), busiest: 0, completed: [], cancelled: 0 };
  const upload = new S3Upload({
    requests: recorded(sent),
    partBytes: 10,
    partsInParallel: 4,
    share: createSharedBudget({ max: 1000, free: 0 }).open(),
    signal: undefined,
    isOver: () => new Error("over"),
    told: (error) => new Error("told", { cause: error }),
    ...more,
  });
  return { upload, sent };
}

describe("an upload in parts", () => {
  it("has parts that double after every thousand, in order, none of them lost", async () => {
    const { upload, sent } = open();
    const bytes = Buffer.from(Uint32Array.from({ length: 8000 }, (_, at) => at).buffer);
    for (let at = 0; at < bytes.length; at += 777) await upload.append(bytes.subarray(at, at + 777));
    expect(await upload.finish()).toEqual({ sizeBytes: 32_000 });
    // 1,000 of 10 bytes, then of 20, and what is left.
    expect(sent.sizes).toEqual([
      ...Array<number>(1000).fill(10),
      ...Array<number>(1000).fill(20),
      ...Array<number>(50).fill(40),
    ]);
    expect(sent.completed).toEqual(Array.from({ length: 2050 }, (_, at) => at + 1));
    const joined = Buffer.concat(
      sent.completed.map((number) => sent.bytes.get(number ?? 0) ?? Buffer.alloc(0)),
    );
    expect(joined.equals(bytes)).toBe(true);
    expect(sent.busiest).toBe(4);
    expect(sent.cancelled).toBe(0);
  });

  it("holds what it may hold, and gives it back", async () => {
    const budget = createSharedBudget({ max: 20, free: 0 });
    const { upload, sent } = open({ share: budget.open() });
    const rest = { upload: open({ share: budget.open() }).upload };
    for (let round = 0; round < 30; round++) {
      await upload.append(Buffer.alloc(10, round));
      expect(budget.held).toBeLessThanOrEqual(20);
      await rest.upload.append(Buffer.alloc(10, round));
    }
    expect(budget.held).toBe(20);
    expect(sent.busiest).toBe(2);
    await upload.finish();
    await rest.upload.abort();
    expect(budget.held).toBe(0);
  });

  it("fails with the first part that does, and ends the others", async () => {
    const ended: number[] = [];
    const part: UploadRequests["part"] = (_upload, { number }, signal) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => {
          ended.push(number);
          reject(new Error("ended"));
        });
        if (number === 2) reject(new Error("the second one"));
      });
    const record: Sent = {
      numbers: [],
      sizes: [],
      bytes: new Map(),
      busiest: 0,
      completed: [],
      cancelled: 0,
    };
    const { upload } = open({ requests: { ...recorded(record), part } });
    const appended = (async () => {
      for (let round = 0; round < 30; round++) await upload.append(Buffer.alloc(10));
    })();
    await expect(appended).rejects.toMatchObject({ message: "told", cause: { message: "the second one" } });
    expect(record.cancelled).toBe(1);
    expect(ended).toContain(1);
    await expect(upload.finish()).rejects.toThrow("over");
  });
});
