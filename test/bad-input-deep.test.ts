/** Tags on tags as deep as they are served; trees in trees and history in one line, deeper than any stack. */
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { hashObject, type ObjectType } from "../src/object/object-id.js";
import { formatEntry } from "../src/pack/pack-writer.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { pktLine, send } from "./support/raw-http.js";
import { formatCommands, RECEIVE_PACK_TYPE, sealPack, UPLOAD_PACK_TYPE } from "./support/raw-push.js";

// Much work beside other tests on a small machine.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });

const WHO = "Ada <ada@example.org> 1700000000 +0100";
/** Of a history, and of trees in trees. */
const DEPTH = 30_000;
/** What a fetch follows. */
const TAGS_MAX = 1000;
const SPARSE_DEPTH_MAX = 4096;

interface Made {
  readonly tip: string;
  readonly count: number;
  readonly entries: readonly Buffer[];
}

interface Chain extends Made {
  /** Of the same objects. */
  readonly oids: readonly string[];
}

/** Each object names the one before. */
function chain(
  depth: number,
  first: Buffer,
  type: ObjectType,
  next: (oid: string, number: number) => Buffer,
): Chain {
  const entries = [formatEntry("blob", first)];
  let tip = hashObject("sha1", "blob", first);
  const oids = [tip];
  for (let i = 0; i < depth; i++) {
    const data = next(tip, i);
    entries.push(formatEntry(type, data));
    tip = hashObject("sha1", type, data);
    oids.push(tip);
  }
  return { tip, count: depth + 1, entries, oids };
}

/** A commit of trees that each hold the one before. */
function nested(depth: number, deepest: string, parent?: string): Chain {
  const {
    tip: tree,
    entries,
    oids,
  } = chain(depth, Buffer.from(deepest), "tree", (oid, i) =>
    Buffer.concat([Buffer.from(`${i === 0 ? "100644" : "40000"} a\0`), Buffer.from(oid, "hex")]),
  );
  const parents = parent === undefined ? "" : `parent ${parent}\n`;
  const data = Buffer.from(`tree ${tree}\n${parents}author ${WHO}\ncommitter ${WHO}\n\ndeep\n`);
  const tip = hashObject("sha1", "commit", data);
  return {
    tip,
    count: depth + 2,
    entries: [...entries, formatEntry("commit", data)],
    oids: [...oids, tip],
  };
}

describe("very deep", () => {
  let server: TestServer;
  const errors: unknown[] = [];

  beforeAll(async () => {
    server = await createTestServer({
      log: ({ level, message, error }) => {
        if (level === "error") errors.push(message, error);
      },
    });
  });
  afterAll(() => server.close());

  async function push({ tip, count, entries }: Made, ref: string): Promise<string> {
    const pack = sealPack(count, Buffer.concat(entries));
    const { status, body } = await send(`${server.urlOf("app")}/git-receive-pack`, {
      body: Buffer.concat([Buffer.from(formatCommands([{ newOid: tip, name: ref }])), pack]),
      headers: { "Content-Type": RECEIVE_PACK_TYPE },
    });
    expect(errors.splice(0)).toEqual([]);
    expect(status).toBe(200);
    return body.toString();
  }

  async function fetch(tip: string, ...lines: readonly string[]): Promise<Buffer> {
    const args = [`want ${tip}`, ...lines, "done"].map((line) => pktLine(`${line}\n`)).join("");
    const { status, body } = await send(`${server.urlOf("app")}/git-upload-pack`, {
      body: `${pktLine("command=fetch\n")}0001${args}0000`,
      headers: { "Content-Type": UPLOAD_PACK_TYPE, "Git-Protocol": "version=2" },
    });
    expect(errors.splice(0)).toEqual([]);
    expect(status).toBe(200);
    return body;
  }

  /** The count in the head of the pack that was sent. */
  function objectCount(answer: Buffer): number {
    return answer.readUInt32BE(answer.indexOf("PACK\0\0\0\x02") + 8);
  }

  it("trees in trees", async () => {
    const made = nested(DEPTH, "the deepest\n");
    expect(await push(made, "refs/heads/trees")).toContain("ok refs/heads/trees");
    expect(objectCount(await fetch(made.tip))).toBe(DEPTH + 2);
    expect(objectCount(await fetch(made.tip, "filter tree:10"))).toBe(11);
    expect(objectCount(await fetch(made.tip, `filter tree:${DEPTH}`))).toBe(DEPTH + 1);
    expect(objectCount(await fetch(made.tip, "filter blob:none"))).toBe(DEPTH + 1);
    const changed = nested(DEPTH, "deeper still\n", made.tip);
    expect(await push(changed, "refs/heads/changed")).toContain("ok refs/heads/changed");
    expect(objectCount(await fetch(changed.tip, `have ${made.tip}`))).toBe(DEPTH + 2);
  });

  it("trees in trees, each push upon the one before", async () => {
    const { entries, oids } = nested(DEPTH, "pushed first\n");
    const ends = [DEPTH / 3, (2 * DEPTH) / 3, entries.length];
    for (const [step, end] of ends.entries()) {
      const part = entries.slice(ends[step - 1] ?? 0, end);
      const made = { tip: oids[end - 1] as string, count: part.length, entries: part };
      expect(await push(made, `refs/tags/step${step}`)).toContain(`ok refs/tags/step${step}`);
    }
    expect(objectCount(await fetch(oids.at(-1) as string))).toBe(DEPTH + 2);
  });

  it("trees in trees under a sparse filter, no deeper than it follows", async () => {
    const patterns = Buffer.from("a\n");
    const spec = hashObject("sha1", "blob", patterns);
    const made = { tip: spec, count: 1, entries: [formatEntry("blob", patterns)] };
    expect(await push(made, "refs/tags/spec")).toContain("ok refs/tags/spec");
    const fits = nested(SPARSE_DEPTH_MAX, "fits\n");
    expect(await push(fits, "refs/heads/fits")).toContain("ok refs/heads/fits");
    expect(objectCount(await fetch(fits.tip, `filter sparse:oid=${spec}`))).toBe(SPARSE_DEPTH_MAX + 2);
    const past = nested(SPARSE_DEPTH_MAX + 1, "past\n");
    expect(await push(past, "refs/heads/past")).toContain("ok refs/heads/past");
    expect((await fetch(past.tip, `filter sparse:oid=${spec}`)).toString()).toContain(
      "trees are nested more than 4096 levels deep, too deep for a sparse filter",
    );
  });

  it("tags on tags, but no more than a fetch follows", async () => {
    const tags = (depth: number): Made =>
      chain(depth, Buffer.from("tagged\n"), "tag", (oid, i) =>
        Buffer.from(`object ${oid}\ntype ${i === 0 ? "blob" : "tag"}\ntag t\ntagger ${WHO}\n\nagain\n`),
      );
    expect(await push(tags(DEPTH), "refs/tags/many")).toContain("ng refs/tags/many too many tags of tags");
    expect(await push(tags(TAGS_MAX + 1), "refs/tags/past")).toContain(
      "ng refs/tags/past too many tags of tags",
    );
    const made = tags(TAGS_MAX);
    expect(await push(made, "refs/tags/tags")).toContain("ok refs/tags/tags");
    expect(objectCount(await fetch(made.tip))).toBe(TAGS_MAX + 1);
    const listed = await send(`${server.urlOf("app")}/info/refs?service=git-upload-pack`);
    expect(listed.body.toString()).toContain("refs/tags/tags^{}");
    expect(errors.splice(0)).toEqual([]);
  });

  it("a history in one line", async () => {
    const empty = Buffer.alloc(0);
    const tree = hashObject("sha1", "tree", empty);
    const made = chain(DEPTH, empty, "commit", (oid, i) =>
      Buffer.from(
        `tree ${tree}\n${i === 0 ? "" : `parent ${oid}\n`}author ${WHO}\ncommitter ${WHO}\n\nnext\n`,
      ),
    );
    const whole = { ...made, count: made.count + 1, entries: [...made.entries, formatEntry("tree", empty)] };
    expect(await push(whole, "refs/heads/history")).toContain("ok refs/heads/history");
    expect(objectCount(await fetch(made.tip))).toBe(DEPTH + 1);
    expect(objectCount(await fetch(made.tip, "deepen 20000"))).toBe(20_001);
    expect(objectCount(await fetch(made.tip, "deepen-since 1"))).toBe(DEPTH + 1);
  });
});
