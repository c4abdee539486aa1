import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hashObject, type ObjectId } from "../../object/object-id.js";
import { readCommitParts } from "./commit-parts.js";
import { type RewriteOptions, type RewrittenHistory, rewriteHistory } from "./rewrite-history.js";
import { checkIdentity } from "./rewritten-commit.js";

const IDENTITY = { name: "@gitgost-anonymous", email: "anonymous@gitgost.local" };
const TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
const UPSTREAM = ["a".repeat(40), "b".repeat(40)] as const;

type Commits = Map<ObjectId, Buffer>;

function add(
  commits: Commits,
  parents: readonly ObjectId[],
  { headers = "", message = "m\n", who = "Jane Doe <jane@example.org> 1700000000 +0545" } = {},
): ObjectId {
  const head = [
    `tree ${TREE}`,
    ...parents.map((parent) => `parent ${parent}`),
    `author ${who}`,
    `committer ${who}`,
  ];
  const data = Buffer.from(`${head.join("\n")}\n${headers}\n${message}`);
  const oid = hashObject("sha1", "commit", data);
  commits.set(oid, data);
  return oid;
}

interface Rewritten extends RewrittenHistory {
  readonly written: Commits;
}

async function rewrite(
  commits: Commits,
  tip: ObjectId,
  options: Partial<RewriteOptions> = {},
): Promise<Rewritten> {
  const written: Commits = new Map();
  const history = await rewriteHistory({
    format: "sha1",
    tip,
    read: (oid) => commits.get(oid),
    write(oid, data) {
      expect(hashObject("sha1", "commit", data)).toBe(oid);
      // Parents come first.
      for (const parent of readCommitParts(data, "sha1").parents)
        expect([...UPSTREAM, ...written.keys()]).toContain(parent);
      written.set(oid, data);
    },
    identity: IDENTITY,
    seconds: 1_800_000_000,
    ...options,
  });
  return { ...history, written };
}

describe("a rewritten history", () => {
  it("has nothing of the old headers", async () => {
    const commits: Commits = new Map();
    const headers = [
      "gpgsig -----BEGIN PGP SIGNATURE-----",
      " ",
      " Jane",
      " -----END PGP SIGNATURE-----",
      `mergetag object ${UPSTREAM[0]}`,
      " type commit",
      " tag v1",
      " tagger Joan Roe <joan@example.org> 1 +0100",
      " ",
      " note by Joan Roe",
      "change-id zyxwvutsrqponmlkzyxwvutsrqponmlk",
      "HG:extra Jane",
      "",
    ].join("\n");
    const tip = add(commits, UPSTREAM, { headers, message: "fix\n\nby Joan Roe\n" });
    const { tip: newTip, written, boundary, message } = await rewrite(commits, tip);
    expect(written.get(newTip)?.toString()).toBe(
      [
        `tree ${TREE}`,
        `parent ${UPSTREAM[0]}`,
        `parent ${UPSTREAM[1]}`,
        "author @gitgost-anonymous <anonymous@gitgost.local> 1800000000 +0000",
        "committer @gitgost-anonymous <anonymous@gitgost.local> 1800000000 +0000",
        "",
        "fix\n\nby [name removed]\n",
      ].join("\n"),
    );
    expect(boundary).toEqual(UPSTREAM);
    expect(message).toBe("fix\n\nby [name removed]\n");
  });

  it.each([
    ["ISO-8859-1", Buffer.from("\xfcber Bl\xe5", "latin1"), "über Blå"],
    ["Shift_JIS", Buffer.from("93fa967b8cea", "hex"), "日本語"],
    ["UTF-16LE", Buffer.from("über", "utf16le"), "über"],
    ["klingon", Buffer.from("über"), "über"],
    ["UTF-8", Buffer.from("\xfcber", "latin1"), "über"],
    [undefined, Buffer.from("\xfcber", "latin1"), "über"],
    [undefined, Buffer.from("a\0b"), "ab"],
  ])("is UTF-8 where a commit was %s", async (encoding, message, text) => {
    const who = "Jane <jane@example.org> 1 +0000";
    const headers = encoding === undefined ? "" : `encoding ${encoding}\n`;
    const data = Buffer.concat([
      Buffer.from(`tree ${TREE}\nauthor ${who}\ncommitter ${who}\n${headers}\n`),
      message,
    ]);
    const oid = hashObject("sha1", "commit", data);
    for (const isScrubbed of [true, false]) {
      const { tip, written } = await rewrite(new Map([[oid, data]]), oid, { isScrubbed });
      expect(written.get(tip)?.toString().split("\n\n")[1]).toBe(text);
    }
  });

  it("knows the names of whoever wrote in another encoding", async () => {
    const who = Buffer.from("Bj\xf6rn \xc5s <b@x.example> 1 +0000", "latin1");
    const data = Buffer.concat([
      Buffer.from(`tree ${TREE}\nauthor `),
      who,
      Buffer.from("\ncommitter "),
      who,
      Buffer.from("\nencoding ISO-8859-1\n\nby Bj\xf6rn \xc5s\n", "latin1"),
    ]);
    const oid = hashObject("sha1", "commit", data);
    expect((await rewrite(new Map([[oid, data]]), oid)).message).toBe("by [name removed]\n");
  });

  it("says something where nothing is left to be said", async () => {
    const commits: Commits = new Map();
    const tip = add(commits, [], { message: "Signed-off-by: Jane Doe\n" });
    expect((await rewrite(commits, tip)).message).toBe("Contribution\n");
    expect((await rewrite(commits, tip, { emptyMessage: "Nothing" })).message).toBe("Nothing\n");
  });

  it("is the upstream's where nothing is new", async () => {
    const { tip, commits, boundary } = await rewrite(new Map(), UPSTREAM[0]);
    expect([tip, commits, boundary]).toEqual([UPSTREAM[0], 0, [UPSTREAM[0]]]);
  });

  it("keeps commits apart that differed in their authors alone", async () => {
    const commits: Commits = new Map();
    const same = ["Jane <a@x> 1 +0000", "Joan <b@x> 1 +0000", "June <c@x> 2 +0000"].map((who) =>
      add(commits, [UPSTREAM[0]], { who }),
    );
    const tip = add(commits, same);
    const { written, tip: newTip } = await rewrite(commits, tip);
    expect(written.size).toBe(4);
    expect(new Set(readCommitParts(written.get(newTip) ?? Buffer.alloc(0), "sha1").parents).size).toBe(3);
  });

  const who = fc.record({
    name: fc.stringMatching(/^[A-Z][a-zäöß]{2,9} [A-ZÅ][a-z'-]{3,12}[a-z]$/),
    email: fc.stringMatching(/^[a-z][a-z0-9.+_]{2,10}[a-z0-9]@[a-z]{3,9}(\.[a-z]{2,8}){0,2}$/),
    zone: fc.constantFrom("+0545", "-0930", "+1345"),
    seconds: fc.integer({ min: 1_000_000_001, max: 1_699_999_999 }),
  });
  const placed = fc.constantFrom(
    (name: string, email: string) => `Signed-off-by: ${name} <${email}>`,
    (name: string, email: string) => `Co-Authored-By: ${name}\n <${email}>`,
    (name: string, email: string) => `thanks to ${name}; ask ${email}!`,
    (name: string, email: string) => `${email.toUpperCase()} ${name.toUpperCase()}`,
    (name: string, email: string) => `(${name.replace(" ", "\n")}) <${email}>`,
    (name: string, email: string) => `Author: ${name} <${email}>\nDate:   Mon Nov 2 10:00:00 2026 +0545`,
  );
  const node = fc.record({
    // How many commits back; those that are not there are the upstream's.
    back: fc.uniqueArray(fc.integer({ min: 1, max: 5 }), { maxLength: 3 }),
    author: who,
    committer: who,
    placed,
    words: fc.string(),
  });

  it("has the same shape and none of the strings, whatever it was", async () => {
    const histories = fc.array(node, { minLength: 1, maxLength: 12 });
    const check = async (
      nodes: typeof histories extends fc.Arbitrary<infer T> ? T : never,
    ): Promise<void> => {
      const commits: Commits = new Map();
      const order: ObjectId[] = [];
      for (const { back, author, committer, placed: place, words } of nodes) {
        const line = ({ name, email, seconds, zone }: typeof author): string =>
          `${name} <${email}> ${seconds} ${zone}`;
        const parents = back.map((by) => order.at(-by) ?? UPSTREAM[0]);
        const head = [`tree ${TREE}`, ...new Set(parents.map((parent) => `parent ${parent}`))];
        const message = `change\n\n${place(author.name, author.email)}\n${words}\n${place(committer.name, committer.email)}\n`;
        const data = Buffer.from(
          `${head.join("\n")}\nauthor ${line(author)}\ncommitter ${line(committer)}\n\n${message}`,
        );
        const oid = hashObject("sha1", "commit", data);
        commits.set(oid, data);
        order.push(oid);
      }
      const { written, ids, tip } = await rewrite(commits, order.at(-1) ?? "");
      expect(new Set(ids.values()).size).toBe(ids.size);
      expect(written.size).toBe(ids.size);
      expect(ids.get(order.at(-1) ?? "")).toBe(tip);
      for (const [old, renewed] of ids) {
        const before = readCommitParts(commits.get(old) ?? Buffer.alloc(0), "sha1");
        const after = readCommitParts(written.get(renewed) ?? Buffer.alloc(0), "sha1");
        expect(after.tree).toBe(before.tree);
        expect(after.parents).toEqual(before.parents.map((parent) => ids.get(parent) ?? parent));
        expect(after.people).toEqual([IDENTITY, IDENTITY]);
      }
      const all = [...written.values()].join("\n").toLowerCase().replace(/\s+/g, " ");
      for (const { author, committer } of nodes)
        for (const { name, email, zone, seconds } of [author, committer])
          for (const secret of [name, email, zone, String(seconds)])
            expect(all).not.toContain(secret.toLowerCase());
    };
    await fc.assert(fc.asyncProperty(histories, check), { numRuns: 60, seed: 20_261_122 });
  });
});

describe("a squashed history", () => {
  it("is one commit on all that it stood on, and says what all of them said", async () => {
    const commits: Commits = new Map();
    const first = add(commits, [UPSTREAM[0]], { message: "one\n\nSigned-off-by: Jane Doe\n" });
    const second = add(commits, [first, UPSTREAM[1]], { message: "two\n" });
    const third = add(commits, [second], { message: "one\n" });
    const { written, tip, ids, commits: count } = await rewrite(commits, third, { isSquashed: true });
    expect([count, written.size, [...ids]]).toEqual([1, 1, [[third, tip]]]);
    const parts = readCommitParts(written.get(tip) ?? Buffer.alloc(0), "sha1");
    expect(parts).toEqual({
      tree: TREE,
      parents: UPSTREAM,
      people: [IDENTITY, IDENTITY],
      message: "one\n\ntwo\n",
    });
  });

  it("is nothing where nothing is new", async () => {
    expect(await rewrite(new Map(), UPSTREAM[0], { isSquashed: true })).toMatchObject({
      tip: UPSTREAM[0],
      commits: 0,
    });
  });
});

describe("what is refused", () => {
  const chain = (length: number): [Commits, ObjectId] => {
    const commits: Commits = new Map();
    let tip: ObjectId = UPSTREAM[0];
    for (let i = 0; i < length; i++) tip = add(commits, [tip], { message: `${i}`.padEnd(10) });
    return [commits, tip];
  };

  it("is more than the limits, and one less is not", async () => {
    const [commits, tip] = chain(4);
    const bytes = commits.get(tip)?.length ?? 0;
    const refusal = expect.objectContaining({ code: "base/limit-exceeded" }) as Error;
    for (const [limits, less] of [
      [{ commitsMax: 4 }, { commitsMax: 3 }],
      [{ commitBytesMax: bytes }, { commitBytesMax: bytes - 1 }],
      [{ messageLengthMax: 10 }, { messageLengthMax: 9 }],
      [{ messageLengthTotalMax: 40 }, { messageLengthTotalMax: 39 }],
      [{ parentsMax: 1 }, { parentsMax: 0 }],
    ] as const) {
      expect((await rewrite(commits, tip, { limits })).commits).toBe(4);
      await expect(rewrite(commits, tip, { limits: less })).rejects.toEqual(refusal);
    }
  });

  it("is no matter of how deep a history is", async () => {
    const [commits, tip] = chain(10_000);
    const written: ObjectId[] = [];
    const history = await rewriteHistory({
      format: "sha1",
      tip,
      read: async (oid) => commits.get(oid),
      write: async (oid) => void written.push(oid),
      identity: IDENTITY,
      seconds: 1,
    });
    expect([history.commits, written.length, written.at(-1)]).toEqual([10_000, 10_000, history.tip]);
  });

  it.each(["", "tree", `tree ${"g".repeat(40)}\n\nx`, `tree ${TREE}\nparent ${"G".repeat(40)}\n\nx`])(
    "is what is no commit: %j",
    async (text) => {
      await expect(rewrite(new Map([[TREE, Buffer.from(text)]]), TREE)).rejects.toThrow(
        expect.objectContaining({ code: "object/malformed" }),
      );
    },
  );

  it("is what nobody waits for", async () => {
    const [commits, tip] = chain(2);
    await expect(rewrite(commits, tip, { signal: AbortSignal.abort() })).rejects.toThrow(
      expect.objectContaining({ code: "base/aborted" }),
    );
  });

  it.each([
    ["", "a@b"],
    ["a", ""],
    ["a <b", "a@b"],
    ["a\n", "a@b"],
    [" a", "a@b"],
    ["a.", "a@b"],
    ["a", "a b"],
  ])("is an identity that git would write otherwise: %j <%s>", (name, email) => {
    expect(() => checkIdentity({ name, email })).toThrow(
      expect.objectContaining({ code: "server/bad-configuration" }),
    );
    expect(checkIdentity(IDENTITY)).toBe(IDENTITY);
  });
});
