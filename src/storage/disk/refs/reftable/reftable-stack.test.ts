/** A stack on a disk: what is synced when, compaction, what writers that died left, several processes at once. */
import { type ChildProcess, fork } from "node:child_process";
import fs, {
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RefStore, RefUpdate } from "../../../contracts/ref-store.js";
import type { ChangeRefsTask } from "../change-refs.test.support.js";
import { createRefFiles } from "../create-ref-files.js";
import { BlockWriter } from "./block-writer.js";
import { compactStack } from "./compact-stack.js";
import { chooseCompaction } from "./merge-tables.js";
import { encodeRefValue, type RefRecord } from "./records.js";
import { readLogs } from "./reftable-file.js";
import { openReftableRefStore } from "./reftable-ref-store.js";
import { ReftableStack } from "./reftable-stack.js";
import { formatFooter, formatHeader, headerLength } from "./table-header.js";
import { parseLayout, parseRefs } from "./table-reader.js";
import { decodeText, encodeText } from "./table-text.js";
import { formatTable } from "./table-writer.js";

const OIDS = Array.from({ length: 6 }, (_, i) => String(i + 1).repeat(40));
const [A = "", B = ""] = OIDS;
const MAIN = "refs/heads/main";
const OPTIONS = { objectFormat: "sha1", lockTimeoutMs: 100, sync: false, shared: "umask" } as const;

let gitDirectory: string;
let children: ChildProcess[];

const open = (durability: "sync" | "none" = "none"): RefStore =>
  openReftableRefStore({ gitDirectory, objectFormat: "sha1", durability, logAllRefUpdates: () => "always" });
const tablePath = (name: string): string => join(gitDirectory, "reftable", name);
const tableNames = (): string[] =>
  readdirSync(join(gitDirectory, "reftable")).filter((name) => name.includes(".ref"));
const set = (name: string, newOid: string | null): RefUpdate => ({ name, oldOid: undefined, newOid });
async function put(store: RefStore, ...updates: readonly RefUpdate[]): Promise<void> {
  expect((await store.transact({ updates, atomic: true })).every(({ ok }) => ok)).toBe(true);
}

beforeEach(async () => {
  gitDirectory = mkdtempSync(join(tmpdir(), "gitwharf-reftable-"));
  children = [];
  const layout = { refFormat: "reftable", defaultBranch: "main", objectFormat: "sha1", sync: false } as const;
  await createRefFiles(gitDirectory, layout);
});
afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(gitDirectory, { recursive: true });
});

describe("a change", () => {
  it("is a table on the disk before the list names it, and the directory is synced last", async () => {
    const calls: string[] = [];
    const name = (path: string): string =>
      relative(gitDirectory, path).replace(/0x[0-9a-f]+-(0x[0-9a-f]+)-[0-9a-f]+/, "$1");
    const { fsync, renameSync } = fs;
    fs.fsync = ((fd: number, done: (error: NodeJS.ErrnoException | null) => void) => {
      const path = name(readlinkSync(`/proc/self/fd/${fd}`));
      fsync(fd, (error) => {
        calls.push(`sync ${path}`);
        done(error);
      });
    }) as typeof fsync;
    fs.renameSync = (from, to) => {
      renameSync(from, to);
      calls.push(`rename ${name(String(to))}`);
    };
    syncBuiltinESMExports();
    const store = open("sync");
    try {
      await put(store, set(MAIN, A));
      calls.push("done");
    } finally {
      Object.assign(fs, { fsync, renameSync });
      syncBuiltinESMExports();
      await store.close();
    }
    expect(calls.slice(0, calls.indexOf("done"))).toEqual([
      "sync reftable/0x000000000002.ref.new",
      "rename reftable/0x000000000002.ref",
      "sync reftable/tables.list.lock",
      "rename reftable/tables.list",
      "sync reftable",
    ]);
  });

  it("is seen by another store at once, also while tables are compacted away under it", async () => {
    const writer = open();
    const reader = open();
    for (let i = 0; i < 40; i++) {
      await put(writer, set(MAIN, OIDS[i % 6] ?? A), set(`refs/heads/b${i % 7}`, i % 2 === 0 ? A : null));
      await new Promise((resolve) => setImmediate(resolve));
      expect((await reader.snapshot()).get(MAIN)?.oid).toBe(OIDS[i % 6]);
      expect((await reader.readReflog(MAIN)).length).toBe(i + 1);
    }
    await writer.close();
    await reader.close();
    expect(tableNames().length).toBeLessThan(12);
  });
});

describe("compaction", () => {
  it.each([
    [[], [0, 0]],
    [[100], [0, 0]],
    [
      [400, 200, 100],
      [0, 0],
    ],
    [
      [100, 100],
      [0, 2],
    ],
    [
      [1000, 100, 100],
      [1, 3],
    ],
    [
      [390, 200, 100, 60],
      [0, 4],
    ],
    [
      [1000, 64, 32, 16, 9, 2],
      [1, 5],
    ],
  ] as const)("of tables of the sizes %j takes %j", (sizes, expected) => {
    expect(chooseCompaction(sizes)).toEqual(expected);
  });

  it("keeps names and logs that are not UTF-8 byte for byte", async () => {
    const latin1 = (text: string): string => {
      const bytes = Buffer.from(text, "latin1");
      const decoded = decodeText(bytes, 0, bytes.length);
      expect(encodeText(decoded).equals(bytes)).toBe(true);
      return decoded;
    };
    expect(latin1("\xff\xfe\xe9a\xc3\xa9\xf0\x90")).not.toContain("\ufffd");
    const stack = new ReftableStack(gitDirectory, "sha1");
    const names = ["refs/heads/a\xe9", "refs/heads/a\xea", "refs/heads/z"].map(latin1);
    const entry = {
      oldOid: A,
      newOid: B,
      name: latin1("Ren\xe9"),
      email: "r@x",
      timeSeconds: 1,
      zone: 0,
      message: "m",
    };
    const refs = names.map(
      (name) => ({ name, updateIndex: 2, value: { kind: "direct", ref: { name, oid: A } } }) as const,
    );
    const logs = names.map((name) => ({ name, updateIndex: 2, entry }));
    const bytes = formatTable({ objectFormat: "sha1", minUpdateIndex: 2, maxUpdateIndex: 2, refs, logs });
    writeFileSync(tablePath("0x000000000002-0x000000000002-00000000.ref"), bytes);
    fs.appendFileSync(stack.listPath, "0x000000000002-0x000000000002-00000000.ref\n");
    const store = open();
    const snapshot = await store.snapshot();
    expect(snapshot.all.map(({ name }) => name)).toEqual(["refs/heads/z"]);
    expect(snapshot.broken).toEqual(["refs/heads/a\ufffd"]);
    expect((await store.readReflog("refs/heads/z"))[0]?.committer).toBe("Ren\ufffd <r@x> 1 +0000");
    await store.close();
    expect(await compactStack(stack, OPTIONS)).toBe(true);
    stack.refresh();
    expect(stack.tables).toHaveLength(1);
    const [table] = stack.tables;
    if (table === undefined) throw new Error("there is no table");
    expect(table.refs.map(({ name }) => name)).toEqual(["HEAD", ...names]);
    expect(readLogs(stack.directory, table).map(({ entry: each }) => each?.name)).toEqual(
      names.map(() => entry.name),
    );
    expect(readFileSync(tablePath(table.name)).includes(Buffer.from("a\xe9", "latin1"))).toBe(true);
  });

  it("removes what writers that died left, and nothing else", async () => {
    const old = new Date(Date.now() - 48 * 3600 * 1000);
    const strays = [
      "0x000000000001-0x000000000001-deadbeef.ref",
      "0x000000000001-0x000000000001-0ddba11a.ref.new",
    ];
    const kept = [
      "0x000000000001-0x000000000001-00c0ffee.ref.new",
      "0x0000000000ff-0x0000000000ff-deadbeef.ref",
      "0x000000000001-0x000000000001-deadbeef.ref.tmp",
    ];
    for (const name of [...strays, ...kept]) writeFileSync(tablePath(name), "");
    utimesSync(tablePath(strays[1] ?? ""), old, old);
    const store = open();
    for (let i = 0; i < 3; i++) await put(store, set(MAIN, OIDS[i] ?? A));
    await store.close();
    expect(tableNames()).toEqual(expect.arrayContaining(kept));
    for (const name of strays) expect(tableNames()).not.toContain(name);
  });

  it("leaves alone what another process is compacting", async () => {
    const stack = new ReftableStack(gitDirectory, "sha1");
    const first = stack.readList()[0] ?? "";
    writeFileSync(tablePath(`${first}.lock`), "");
    const store = open();
    for (let i = 0; i < 5; i++) await put(store, set(MAIN, OIDS[i] ?? A));
    await store.close();
    expect(stack.readList()[0]).toBe(first);
    expect((await open().snapshot()).get(MAIN)?.oid).toBe(OIDS[4]);
  });
});

it("reads blocks that are not aligned", () => {
  const header = { objectFormat: "sha1", blockSize: 0, minUpdateIndex: 1, maxUpdateIndex: 1 } as const;
  const refs = Array.from({ length: 90 }, (_, i): RefRecord => {
    const name = `refs/heads/branch-${String(i).padStart(2, "0")}`;
    return { name, updateIndex: 1, value: { kind: "direct", ref: { name, oid: A, peelKnown: true } } };
  });
  const blocks: Buffer[] = [];
  for (let at = 0; at < refs.length; at += 30) {
    const block = new BlockWriter("r", 4096, at === 0 ? headerLength("sha1") : 0);
    for (const record of refs.slice(at, at + 30)) {
      const { type, value } = encodeRefValue(record, 1);
      expect(block.add(Buffer.from(record.name), type, value)).toBe(true);
    }
    blocks.push(block.finish());
  }
  formatHeader(header).copy(blocks[0] as Buffer);
  const none = { refIndexPosition: 0, objPosition: 0, objIdLength: 0, objIndexPosition: 0 };
  const bytes = Buffer.concat([
    ...blocks,
    formatFooter(header, { ...none, logPosition: 0, logIndexPosition: 0 }),
  ]);
  expect(parseRefs(bytes, parseLayout(bytes, bytes, bytes.length, "sha1"))).toEqual(refs);
});

describe("a table that cannot be read", () => {
  const name = "0x000000000002-0x000000000002-00000000.ref";
  const list = (): void => fs.appendFileSync(tablePath("tables.list"), `${name}\n`);

  it("is named when it is damaged, or is not there", async () => {
    const bytes = formatTable({
      objectFormat: "sha1",
      minUpdateIndex: 2,
      maxUpdateIndex: 2,
      refs: [],
      logs: [],
    });
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    list();
    await expect(open().snapshot()).rejects.toMatchObject({ code: "storage/io" });
    writeFileSync(tablePath(name), bytes);
    await expect(open().snapshot()).rejects.toMatchObject({
      code: "storage/bad-ref",
      message: expect.stringContaining(
        `${name}: the reftable is corrupt: the checksum of its footer is wrong`,
      ),
    });
  });

  it("is refused when it has more refs than are read", async () => {
    const header = { objectFormat: "sha1", blockSize: 4096, minUpdateIndex: 2, maxUpdateIndex: 2 } as const;
    const positions = { refIndexPosition: 0, objPosition: 0, objIdLength: 0, objIndexPosition: 0 };
    const footer = formatFooter(header, { ...positions, logPosition: 0, logIndexPosition: 0 });
    const fd = fs.openSync(tablePath(name), "w");
    fs.writeSync(fd, formatHeader(header), 0, 24, 0);
    fs.writeSync(fd, footer, 0, footer.length, 512 * 1024 * 1024 + 1);
    fs.closeSync(fd);
    list();
    await expect(open().snapshot()).rejects.toMatchObject({
      code: "storage/unsupported",
      message: expect.stringContaining("larger than the 536870912 bytes"),
    });
  });

  it("is not looked for outside the directory", async () => {
    fs.appendFileSync(tablePath("tables.list"), "../../secret.ref\n");
    await expect(open().snapshot()).rejects.toMatchObject({ code: "storage/bad-ref" });
  });
});

describe("several processes", () => {
  const start = (about: Partial<ChangeRefsTask>): Promise<number> => {
    const task = {
      gitDirectory,
      commits: OIDS,
      refFormat: "reftable",
      action: "count",
      rounds: 20,
      seed: 1,
      ...about,
    };
    const child = fork(new URL("../change-refs.test.support.js", import.meta.url), [JSON.stringify(task)]);
    children.push(child);
    let won = 0;
    child.on("message", (message) => {
      won = Number(message);
    });
    return new Promise((resolve) => child.on("exit", () => resolve(won)));
  };

  it("swap one ref, and each step is made once", async () => {
    const store = open();
    await put(store, set(MAIN, A));
    expect(await Promise.all([start({ seed: 1 }), start({ seed: 2 })])).toEqual([20, 20]);
    expect((await store.snapshot()).get(MAIN)?.oid).toBe(OIDS[40 % 6]);
    await store.close();
  }, 60_000);

  it("make the same refs, and each is made by one", async () => {
    const store = open();
    const won = await Promise.all([
      start({ action: "create-many", seed: 1 }),
      start({ action: "create-many", seed: 2 }),
    ]);
    const { all } = await store.snapshot();
    expect(all).toHaveLength(400);
    expect(won).toEqual([1, 2].map((seed) => all.filter(({ oid }) => oid === OIDS[seed]).length));
    await store.close();
  }, 60_000);
});
