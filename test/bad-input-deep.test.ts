/** Trees in trees, tags on tags and history in one line, as deep as they are served, and histories deeper than any stack. */
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { hashObject, type ObjectType } from "../src/object/object-id.js";
import { formatEntry } from "../src/pack/pack-writer.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { pktLine, send } from "./support/raw-http.js";
import { formatCommands, RECEIVE_PACK_TYPE, sealPack, UPLOAD_PACK_TYPE } from "./support/raw-push.js";

// Much work beside other tests on a small machine.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });

const WHO = "Ada <ada@example.org> 1700000000 +0100";
/** Of a history. */
const DEPTH = 30_000;
/** What a fetch follows. */
const TREES_MAX = 4096;
const TAGS_MAX = 1000;

interface Made {
  readonly tip: string;
  readonly count: number;
  readonly entries: readonly Buffer[];
}

/** Each object names the one before. */
function chain(
  depth: number,
  first: Buffer,
  type: ObjectType,
  next: (oid: string, number: number) => Buffer,
): Made {
  const entries = [formatEntry("blob", first)];
  let tip = hashObject("sha1", "blob", first);
  for (let i = 0; i < depth; i++) {
    const data = next(tip, i);
    entries.push(formatEntry(type, data));
    tip = hashObject("sha1", type, data);
  }
  return { tip, count: depth + 1, entries };
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
    const trees = chain(TREES_MAX, Buffer.from("the deepest\n"), "tree", (oid, i) =>
      Buffer.concat([Buffer.from(`${i === 0 ? "100644" : "40000"} a\0`), Buffer.from(oid, "hex")]),
    );
    const data = Buffer.from(`tree ${trees.tip}\nauthor ${WHO}\ncommitter ${WHO}\n\ndeep\n`);
    const tip = hashObject("sha1", "commit", data);
    const made = { tip, count: trees.count + 1, entries: [...trees.entries, formatEntry("commit", data)] };
    expect(await push(made, "refs/heads/trees")).toContain("ok refs/heads/trees");
    expect(objectCount(await fetch(tip))).toBe(TREES_MAX + 2);
    expect(objectCount(await fetch(tip, "filter tree:10"))).toBe(11);
    expect(objectCount(await fetch(tip, "filter blob:none"))).toBe(TREES_MAX + 1);
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
