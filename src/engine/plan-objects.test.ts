import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type OpenedDirectory, openGitDirectory } from "./fetch/git-directory.test.support.js";
import { createTestRepository, type TestDirectory } from "./fetch/history.test.support.js";
import { streamPack } from "./pack-stream.js";
import { type ListedPack, planObjects } from "./plan-objects.js";

let source: TestDirectory;
let opened: OpenedDirectory;
let old: string;
let fresh: string;
let tree: string;
let commit: string;

/** Text that does not deflate to nothing. */
function linesOf(changed: number): string {
  return Array.from({ length: 2000 }, (_, i) => `${(i * 7919) % 10_007} ${i === changed ? "new" : i}\n`).join(
    "",
  );
}

beforeAll(() => {
  source = createTestRepository();
  const make = (args: readonly string[], input?: string): string => source.git(args, input).trim();
  old = make(["hash-object", "-w", "--stdin"], linesOf(-1));
  fresh = make(["hash-object", "-w", "--stdin"], linesOf(1234));
  // One that leads to what is not here.
  tree = make(["mktree", "--missing"], `100644 blob ${"1".repeat(40)}\tabsent\n100644 blob ${fresh}\tfile\n`);
  commit = make(["commit-tree", "-m", "one", tree]);
  opened = openGitDirectory(source.path);
});
afterAll(() => {
  opened.release();
  source.remove();
});

async function packOf(listed: ListedPack & { readonly thinPack?: boolean }): Promise<Buffer> {
  const plan = await planObjects({ objects: opened.objects, ofsDelta: true, ...listed });
  const chunks: Buffer[] = [];
  for await (const chunk of streamPack(plan)) chunks.push(chunk);
  plan.release();
  return Buffer.concat(chunks);
}

/** Given to git in a repository with these objects. @returns what is there then */
function receivedBy(pack: Buffer, ...contents: readonly string[]): readonly string[] {
  const receiver = createTestRepository();
  try {
    for (const content of contents) receiver.git(["hash-object", "-w", "--stdin"], content);
    receiver.git(["index-pack", "--stdin", "--fix-thin"], pack);
    const listed = receiver.git(["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
    return listed.trim().split("\n");
  } finally {
    receiver.remove();
  }
}

describe("a pack of listed objects", () => {
  it("has these and no others, though they lead to more", async () => {
    const pack = await packOf({ oids: [commit, tree, fresh, fresh] });
    expect(receivedBy(pack)).toEqual([commit, tree, fresh].toSorted());
  });

  it("may have none", async () => {
    expect((await packOf({ oids: [] })).readUInt32BE(8)).toBe(0);
  });

  it("stands on what the other side has", async () => {
    const previous = new Map([[fresh, old]]);
    const whole = await packOf({ oids: [fresh], previous });
    const thin = await packOf({ oids: [fresh], previous, thinPack: true });
    expect(thin.length).toBeLessThan(whole.length / 10);
    expect(receivedBy(thin, linesOf(-1))).toEqual([fresh, old].toSorted());
    expect(receivedBy(whole)).toEqual([fresh]);
  });

  it("stands on nothing that is not here, nor on itself", async () => {
    const previous = new Map([
      [fresh, "2".repeat(40)],
      [tree, fresh],
    ]);
    const pack = await packOf({ oids: [fresh, tree], previous, bases: ["3".repeat(40)], thinPack: true });
    expect(receivedBy(pack)).toEqual([fresh, tree].toSorted());
  });

  it("is not made when one of them is not here", async () => {
    await expect(packOf({ oids: [fresh, "1".repeat(40)] })).rejects.toMatchObject({ code: "object/corrupt" });
  });
});
