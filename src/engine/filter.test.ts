import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { isGitwharfError } from "../base/errors.js";
import { compileFilter } from "./fetch/filter-evaluation.js";
import { openGitDirectory, type OpenedDirectory } from "./fetch/git-directory.test.support.js";
import { createRandom, createTestRepository, importHistory, revList } from "./fetch/history.test.support.js";
import { ObjectSpace } from "./fetch/object-space.js";
import { resolveSparseBlobs } from "./fetch/sparse-name.js";
import { unlimitedBudget } from "./fetch/work-budget.js";
import { filterName, formatFilter, type ObjectFilter, parseFilter } from "./filter.js";
import { countObjects } from "./object-count.js";

const limits = { filterDepthMax: 4 };
const removals: (() => void)[] = [];
afterAll(() => {
  for (const remove of removals) remove();
});

const anyFilter = fc.letrec<{ filter: ObjectFilter; combine: ObjectFilter }>((tie) => ({
  filter: fc.oneof(
    { maxDepth: 2 },
    fc.constant<ObjectFilter>({ kind: "blob-none" }),
    fc.nat().map((limitBytes): ObjectFilter => ({ kind: "blob-limit", limitBytes })),
    fc.nat().map((depth): ObjectFilter => ({ kind: "tree-depth", depth })),
    fc
      .constantFrom("commit", "tree", "blob", "tag")
      .map((type): ObjectFilter => ({ kind: "object-type", type })),
    fc
      .string({ unit: "grapheme" })
      .map((name): ObjectFilter => ({ kind: "sparse-oid", name: name.replaceAll("\0", "") })),
    tie("combine"),
  ),
  combine: fc
    .array(tie("filter"), { minLength: 1, maxLength: 3 })
    .map((filters): ObjectFilter => ({ kind: "combine", filters })),
})).filter;

describe("the words of a filter", () => {
  test("parsing what was formatted gives the same filter", () => {
    fc.assert(
      fc.property(anyFilter, (filter) => {
        expect(parseFilter(formatFilter(filter), { filterDepthMax: 16 })).toEqual(filter);
      }),
    );
  });

  test("any text gives a filter or an error for the peer", () => {
    const piece = fc.constantFrom(
      "combine:",
      "blob:",
      "limit=",
      "tree:",
      "+",
      "%2b",
      "%",
      "1",
      "k",
      "sparse:oid=",
      "none",
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(piece, fc.string())), (parts) => {
        try {
          parseFilter(parts.join(""), limits);
        } catch (error) {
          expect(isGitwharfError(error) && error.kind === "peer").toBe(true);
        }
      }),
    );
  });

  test.each([
    ["blob:none", { kind: "blob-none" }],
    ["blob:limit=2k", { kind: "blob-limit", limitBytes: 2048 }],
    ["blob:limit=1G", { kind: "blob-limit", limitBytes: 2 ** 30 }],
    ["tree:0x10", { kind: "tree-depth", depth: 16 }],
    [
      "combine:blob:none+tree:3",
      { kind: "combine", filters: [{ kind: "blob-none" }, { kind: "tree-depth", depth: 3 }] },
    ],
    ["combine:sparse:oid=a%2bb", { kind: "combine", filters: [{ kind: "sparse-oid", name: "a+b" }] }],
  ])("%s", (text, filter) => {
    expect(parseFilter(text, limits)).toEqual(filter);
  });

  test.each([
    ["blob:all", "invalid filter-spec 'blob:all'"],
    ["tree:x", "expected 'tree:<depth>'"],
    ["combine:", "expected something after combine:"],
    ["combine:sparse:oid=a b", "must escape char in sub-filter-spec: ' '"],
    ["sparse:path=x", "sparse:path filters support has been dropped"],
    ["object:type=x", "'x' for 'object:type=<type>' is not a valid object type"],
  ])("%s is refused in git's words", (text, message) => {
    expect(() => parseFilter(text, limits)).toThrow(message);
  });

  test("nesting is allowed up to the limit, and not one deeper", () => {
    const nested = (depth: number): string =>
      formatFilter(
        Array.from({ length: depth }).reduce<ObjectFilter>(
          (filter) => ({ kind: "combine", filters: [filter] }),
          { kind: "blob-none" },
        ),
      );
    expect(filterName(parseFilter(nested(4), limits))).toBe("combine");
    expect(() => parseFilter(nested(5), limits)).toThrow("nested more than 4 levels");
    expect(() => parseFilter(`combine:${"tree:1+".repeat(300)}`, limits)).toThrow("more than 256");
  });
});

async function selected(
  snapshot: OpenedDirectory,
  wants: readonly string[],
  haves: readonly string[],
  spec: string,
): Promise<Set<string>> {
  const filter = parseFilter(spec, limits);
  const space = new ObjectSpace(snapshot.objects);
  const { chosen } = await countObjects({
    space,
    wants,
    haves,
    cutAt: new Set(),
    gate: await compileFilter(filter, snapshot.objects, await resolveSparseBlobs(snapshot, filter)),
    tagsToInclude: [],
    budget: unlimitedBudget(),
  });
  const oids = new Set<string>();
  chosen.forEach((ordinal) => oids.add(space.oidOf(ordinal)));
  return oids;
}

const minus = (a: ReadonlySet<string>, b: ReadonlySet<string>): string[] =>
  [...a].filter((x) => !b.has(x)).sort();

describe("what a filter lets through is what git lets through", () => {
  const source = createTestRepository();
  removals.push(source.remove);
  const commits = importHistory(source, { seed: 11, commits: 60 });
  const sparse = (text: string): string => source.git(["hash-object", "-w", "--stdin"], text).trim();
  source.git(["repack", "-a", "-d", "-q"]);
  const specs = [
    "blob:none",
    "blob:limit=0",
    "blob:limit=100",
    "blob:limit=1k",
    "tree:0",
    "tree:1",
    "tree:2",
    "tree:3",
    "object:type=commit",
    "object:type=tree",
    "object:type=blob",
    "object:type=tag",
    "combine:blob:limit=200+tree:2",
    "combine:tree:3+blob:none",
    "combine:object:type=blob+blob:limit=300",
    `sparse:oid=${sparse("a/b\n!a/b/c\n")}`,
    `sparse:oid=${sparse("/*\n!/*/\n/d/\n")}`,
    `sparse:oid=${sparse("file[0-2]\n*.big\n!/f/**\n# no\n\\!x\na/**/file3\n")}`,
  ];
  test("a hidden ref is no name of a sparse specification", async () => {
    source.git(["update-ref", "refs/hidden/spec", sparse("d/\n")]);
    const snapshot = openGitDirectory(source.path, { blocking: true });
    removals.push(snapshot.release);
    const filter = parseFilter("sparse:oid=refs/hidden/spec", limits);
    expect(await resolveSparseBlobs(snapshot, filter)).toEqual([sparse("d/\n")]);
    await expect(
      resolveSparseBlobs(snapshot, filter, (ref) => !ref.name.startsWith("refs/hidden/")),
    ).rejects.toThrow("unable to access sparse blob in 'refs/hidden/spec'");
  });

  test("differs from git: a blob is sent when one path passes all filters, whatever another path said", async () => {
    const snapshot = openGitDirectory(source.path, { blocking: true });
    removals.push(snapshot.release);
    const spec = `combine:tree:3+sparse:oid=${sparse("d/\n")}`;
    const wants = commits.slice(-8);
    const ours = await selected(snapshot, wants, [], spec);
    expect(minus(revList(source, [`--filter=${spec}`, ...wants]), ours)).toEqual([]);
    expect(minus(ours, revList(source, ["--filter=tree:3", ...wants]))).toEqual([]);
  });

  test.each(specs)("%s", async (spec) => {
    const snapshot = openGitDirectory(source.path, { blocking: true });
    removals.push(snapshot.release);
    const random = createRandom(3);
    const blob = source.git(["rev-parse", `${commits.at(-1)}^{tree}`]).trim();
    for (let round = 0; round < 5; round++) {
      const pick = (): string => commits[random(commits.length)] as string;
      const wants = [pick(), pick()];
      if (round === 3) wants.push(source.git(["rev-parse", "refs/tags/tt1"]).trim());
      if (round === 4) wants.push(blob);
      const git = revList(source, [`--filter=${spec}`, ...wants]);
      const ours = await selected(snapshot, wants, [], spec);
      expect(minus(git, ours), "missing").toEqual([]);
      expect(minus(ours, git), "too many").toEqual([]);
      const haves = [pick()];
      const gitMore = revList(source, [`--filter=${spec}`, ...wants, "--not", ...haves]);
      const more = await selected(snapshot, wants, haves, spec);
      expect(
        minus(gitMore, more).filter((oid) => !revList(source, haves).has(oid)),
        "missing with haves",
      ).toEqual([]);
      expect(minus(more, git), "too many with haves").toEqual([]);
    }
  });
});
