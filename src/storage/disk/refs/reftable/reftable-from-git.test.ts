/** Tables that real git wrote (test/fixtures/reftable/make.sh says how), and what git says of them. Needs no git. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ObjectFormat } from "../../../../object/object-format.js";
import type { RefStore } from "../../../contracts/ref-store.js";
import { forEachRecord, readBlock } from "./block-reader.js";
import { decodeObjValue, logKey, type LogRecord } from "./records.js";
import { openReftableRefStore } from "./reftable-ref-store.js";
import { findLogBlock, forEachLog, parseLayout, parseRefs, type TableLayout } from "./table-reader.js";
import { formatTable } from "./table-writer.js";

const FIXTURES = fileURLToPath(new URL("../../../../../../test/fixtures/reftable", import.meta.url));
const NAMES = ["sha1", "sha256", "indexed", "logs-only"] as const;

const formatOf = (fixture: string): ObjectFormat => (fixture === "sha256" ? "sha256" : "sha1");
const linesOf = (fixture: string, file: string): string[] =>
  readFileSync(join(FIXTURES, fixture, file), "utf8")
    .trimEnd()
    .split("\n");

interface Table {
  readonly bytes: Buffer;
  readonly layout: TableLayout;
}

function tablesOf(fixture: string): readonly Table[] {
  return linesOf(fixture, "tables.list").map((name) => {
    const bytes = readFileSync(join(FIXTURES, fixture, name));
    return { bytes, layout: parseLayout(bytes, bytes, bytes.length, formatOf(fixture)) };
  });
}

const read =
  (bytes: Buffer) =>
  (start: number, end: number): Buffer =>
    bytes.subarray(start, end);

function logsOf({ bytes, layout }: Table): readonly LogRecord[] {
  const logs: LogRecord[] = [];
  forEachLog(read(bytes), layout, (record) => void logs.push(record));
  return logs;
}

describe.each(NAMES)("git's tables: %s", (fixture) => {
  let gitDirectory: string;
  let store: RefStore;
  const open = (): RefStore =>
    openReftableRefStore({ gitDirectory, objectFormat: formatOf(fixture), durability: "none" });

  const refLines = async (): Promise<string[]> => {
    const { head, all } = await store.snapshot();
    const lines = all.map(({ name, oid, peeled, symbolicTarget }) =>
      `${name} ${oid} ${peeled ?? ""} ${symbolicTarget ?? ""}`.trimEnd(),
    );
    return [head.symbolicTarget ?? "", ...lines];
  };
  const logLines = async (): Promise<string[]> => {
    const lines: string[] = [];
    const { all } = await store.snapshot();
    const names = all.map(({ name }) => name).filter((name) => !name.startsWith("refs/tags/"));
    for (const name of ["HEAD", ...names]) {
      const short = name === "HEAD" ? name : name.replace(/^refs\/[^/]+\//, "").replace(/\/HEAD$/, "");
      for (const { newOid, committer, message } of (await store.readReflog(name)).toReversed()) {
        const [, person = "", time = ""] = /^(.*>) (.*)$/.exec(committer) ?? [];
        lines.push(`${name} ${newOid} ${person} ${short}@{${time}} ${message}`.trimEnd());
      }
    }
    return lines;
  };

  beforeEach(() => {
    gitDirectory = mkdtempSync(join(tmpdir(), "gitwharf-reftable-"));
    cpSync(join(FIXTURES, fixture), join(gitDirectory, "reftable"), { recursive: true });
    store = open();
  });
  afterEach(async () => {
    await store.close();
    rmSync(gitDirectory, { recursive: true });
  });

  it("say what git says of refs and logs", async () => {
    expect(await refLines()).toEqual(linesOf(fixture, "refs.txt"));
    expect(await logLines()).toEqual(linesOf(fixture, "logs.txt"));
  });

  it("say the same after changes and compaction by us", async () => {
    for (let i = 0; i < 6; i++) {
      const newOid = String(i + 1).repeat(formatOf(fixture) === "sha1" ? 40 : 64);
      for (const value of [newOid, null]) {
        const [result] = await store.transact({
          updates: [{ name: "refs/heads/passing", oldOid: value === null ? newOid : null, newOid: value }],
          atomic: true,
        });
        expect(result?.ok).toBe(true);
      }
    }
    await store.close();
    const names = readdirSync(join(gitDirectory, "reftable")).filter((name) => name.endsWith(".ref"));
    expect(names.length).toBeLessThan(6);
    store = open();
    expect(await refLines()).toEqual(linesOf(fixture, "refs.txt"));
    expect(await logLines()).toEqual(linesOf(fixture, "logs.txt"));
  });

  it("are written by us as git wrote them", () => {
    for (const table of tablesOf(fixture)) {
      const { bytes, layout } = table;
      const { objectFormat, blockSize, minUpdateIndex, maxUpdateIndex } = layout;
      const refs = parseRefs(bytes, layout);
      const logs = logsOf(table);
      const ours = formatTable({ objectFormat, blockSize, minUpdateIndex, maxUpdateIndex, refs, logs });
      // Another zlib may deflate logs to other bytes.
      const end = logs.length === 0 ? bytes.length : layout.logsStart;
      expect(ours.subarray(0, end).equals(bytes.subarray(0, end))).toBe(true);
      const ourLayout = parseLayout(ours, ours, ours.length, objectFormat);
      expect(logsOf({ bytes: ours, layout: ourLayout })).toEqual(logs);
      expect(ourLayout.logIndexPosition > 0).toBe(layout.logIndexPosition > 0);
    }
  });

  it("lead through the index of logs to each of them", () => {
    for (const table of tablesOf(fixture)) {
      const { bytes, layout } = table;
      for (const record of logsOf(table)) {
        const found: LogRecord[] = [];
        const from = findLogBlock(read(bytes), layout, logKey(record.name, record.updateIndex));
        const visit = (each: LogRecord): boolean => {
          found.push(each);
          return each.name === record.name && each.updateIndex === record.updateIndex;
        };
        forEachLog(read(bytes), layout, visit, from);
        expect(found.at(-1)).toEqual(record);
        if (layout.logIndexPosition > 0) expect(found.length).toBeLessThan(12);
      }
    }
  });
});

it("git's obj blocks say in which blocks an id is", () => {
  const [table] = tablesOf("indexed");
  if (table === undefined) throw new Error("there is no such table");
  const { bytes, layout } = table;
  expect(layout.objPosition).toBeGreaterThan(0);
  const listed = new Map<string, readonly number[]>();
  for (let at = layout.objPosition; ; ) {
    const block = readBlock(bytes, at, 0, layout.blockSize);
    if (block?.type !== "o") break;
    forEachRecord(block, (key, length, type, cursor) => {
      listed.set(key.toString("hex", 0, length), decodeObjValue(type, cursor));
    });
    at = block.next;
  }
  const expected = new Map<string, number[]>();
  for (let at = 0; ; ) {
    const block = readBlock(bytes, at, at === 0 ? layout.headerLength : 0, layout.blockSize);
    if (block?.type !== "r") break;
    for (const { value } of parseRefs(bytes, layout)) {
      if (value?.kind !== "direct") continue;
      for (const oid of [value.ref.oid, value.ref.peeled]) {
        const raw = Buffer.from(oid ?? "", "hex");
        if (oid === undefined || !block.bytes.subarray(block.start, block.end).includes(raw)) continue;
        const key = oid.slice(0, 2 * layout.objIdLength);
        const positions = expected.get(key) ?? [];
        if (positions.at(-1) !== at) positions.push(at);
        expected.set(key, positions);
      }
    }
    at = block.next;
  }
  // What is in too many blocks is listed without positions.
  for (const [key, positions] of listed)
    if (positions.length > 0) expect(positions).toEqual(expected.get(key));
  expect([...listed.keys()].toSorted()).toEqual([...expected.keys()].toSorted());
});
