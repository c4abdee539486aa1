/** Commit-graphs as real git writes them: one file and chains, both kinds of generation numbers, layers that do not fit. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isGitwharfError } from "../base/errors.js";
import { hashBytes, type ObjectFormat } from "../object/object-format.js";
import { CommitGraph } from "./commit-graph.js";

function shared(bytes: Uint8Array): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(bytes.length);
  new Uint8Array(buffer).set(bytes);
  return buffer;
}

interface Told {
  readonly tree: string;
  readonly parents: readonly string[];
  readonly dateSeconds: number;
}

describe.each(["sha1", "sha256"] as const)("a commit-graph of git's, %s", (format: ObjectFormat) => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "gitwharf-graph-"));
    execFileSync("git", ["init", "-q", "--bare", `--object-format=${format}`, directory]);
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  const git = (input: string, ...args: string[]): string =>
    execFileSync("git", ["-C", directory, ...args], { input, stdio: ["pipe", "pipe", "inherit"] })
      .toString()
      .trim();

  let made = 0;
  /** Commits on one branch, with these dates; every fifth merges the two before its parent. */
  const addCommits = (branch: string, dates: readonly number[], upon?: string): void => {
    const lines: string[] = [];
    const first = made + 1;
    for (const date of dates) {
      made++;
      lines.push(`commit refs/heads/${branch}\nmark :${made}\ncommitter A <a@b> ${date} +0000\ndata 1\nm`);
      if (made === first && upon !== undefined) lines.push(`from refs/heads/${upon}^0`);
      if (made - first >= 5 && made % 5 === 0) {
        lines.push(`from :${made - 1}\nmerge :${made - 3}\nmerge :${made - 4}`);
      }
      lines.push(`M 100644 inline f\ndata ${String(made).length}\n${made}`);
    }
    git(`${lines.join("\n")}\n`, "fast-import", "--quiet", "--date-format=raw-permissive", "--force");
  };
  const commits = (): Map<string, Told> => {
    const told = new Map<string, Told>();
    for (const line of git("", "log", "--all", "--format=%H|%T|%P|%ct").split("\n")) {
      const [oid = "", tree = "", parents = "", date = ""] = line.split("|");
      told.set(oid, { tree, parents: parents.split(" ").filter((p) => p !== ""), dateSeconds: Number(date) });
    }
    return told;
  };
  const corrected = (told: ReadonlyMap<string, Told>): Map<string, number> => {
    const dates = new Map<string, number>();
    for (const oid of git("", "rev-list", "--all", "--topo-order", "--reverse").split("\n")) {
      const { parents, dateSeconds } = told.get(oid) as Told;
      dates.set(oid, Math.max(dateSeconds, ...parents.map((parent) => (dates.get(parent) as number) + 1)));
    }
    return dates;
  };
  const single = (): Buffer => readFileSync(join(directory, "objects/info/commit-graph"));
  const chain = (): Buffer[] => {
    const layers = join(directory, "objects/info/commit-graphs");
    const hashes = readFileSync(join(layers, "commit-graph-chain"), "latin1").trim().split("\n");
    return hashes.map((hash) => readFileSync(join(layers, `graph-${hash}.graph`)));
  };
  const expectAgrees = (graph: CommitGraph): Map<string, Told> => {
    const told = commits();
    expect(graph.commitCount).toBe(told.size);
    for (const [oid, { tree, parents, dateSeconds }] of told) {
      const position = graph.find(oid);
      expect(graph.oidAt(position)).toBe(oid);
      expect(graph.treeAt(position)).toBe(tree);
      expect(graph.parentsAt(position).map((p) => graph.oidAt(p))).toEqual(parents);
      expect(graph.dateSecondsAt(position)).toBe(dateSeconds);
      for (const parent of graph.parentsAt(position)) {
        expect(graph.generationAt(parent)).toBeLessThan(graph.generationAt(position));
      }
    }
    expect(graph.find("0".repeat(2 * hashBytes(format)))).toBe(-1);
    return told;
  };
  const dates = (count: number, of: (i: number) => number): number[] =>
    Array.from({ length: count }, (_, i) => of(i));

  it("gives corrected dates, also where the clock went back by more than 31 bits hold", () => {
    addCommits("main", [8_000_000_000, 1000, 999, ...dates(40, (i) => 1_600_000_000 + (i % 7) * 1000 - i)]);
    addCommits(
      "other",
      dates(10, (i) => 1_500_000_000 + i),
    );
    git("", "commit-graph", "write", "--reachable");
    const graph = CommitGraph.parse([shared(single())], format);
    const told = expectAgrees(graph);
    const wanted = corrected(told);
    for (const oid of told.keys()) expect(graph.generationAt(graph.find(oid)), oid).toBe(wanted.get(oid));
    expect(single().includes("GDO2", 0, "latin1")).toBe(true);
    const head = graph.find(git("", "rev-parse", "main"));
    expect(graph.generationAt(head)).toBeGreaterThan(8_000_000_000);
  });

  it("gives topological levels where it has no corrected dates", () => {
    addCommits(
      "main",
      dates(30, (i) => 1_600_000_000 - i),
    );
    git("", "-c", "commitGraph.generationVersion=1", "commit-graph", "write", "--reachable");
    const graph = CommitGraph.parse([shared(single())], format);
    expectAgrees(graph);
    expect(graph.generationAt(graph.find(git("", "rev-parse", "main")))).toBe(30);
  });

  it("is one graph in many layers, of one kind of numbers for all", () => {
    for (const [round, version] of ["1", "2", "2"].entries()) {
      addCommits(
        `b${round}`,
        dates(20, (i) => 1_600_000_000 + i * 10),
      );
      git(
        "",
        "-c",
        `commitGraph.generationVersion=${version}`,
        "commit-graph",
        "write",
        "--reachable",
        "--split=no-merge",
      );
    }
    expect(chain()).toHaveLength(3);
    const graph = CommitGraph.parse(chain().map(shared), format);
    expect(graph.layerCount).toBe(3);
    expectAgrees(graph);
    expect(graph.generationAt(graph.find(git("", "rev-parse", "b2")))).toBeLessThan(1000);
  });

  it("has corrected dates in layers that all have them", () => {
    for (const round of [0, 1, 2]) {
      addCommits(
        `b${round}`,
        dates(20, (i) => 1_600_000_000 - round * 1000 + i),
        round > 0 ? `b${round - 1}` : undefined,
      );
      git("", "commit-graph", "write", "--reachable", "--split=no-merge");
    }
    const graph = CommitGraph.parse(chain().map(shared), format);
    expect(graph.layerCount).toBe(3);
    const wanted = corrected(expectAgrees(graph));
    for (const [oid, date] of wanted) expect(graph.generationAt(graph.find(oid))).toBe(date);
  });

  it("is used up to the layer that does not fit", () => {
    for (const round of [0, 1, 2]) {
      addCommits(
        `b${round}`,
        dates(10, (i) => 1_600_000_000 + i),
        round > 0 ? `b${round - 1}` : undefined,
      );
      git("", "commit-graph", "write", "--reachable", "--split=no-merge");
    }
    const [base, middle, top] = chain() as [Buffer, Buffer, Buffer];
    const layersOf = (...files: readonly Buffer[]): number =>
      CommitGraph.parseUsable(files.map(shared), format).layerCount;
    const refused = (...files: readonly Buffer[]): boolean => {
      try {
        CommitGraph.parse(files.map(shared), format);
        return false;
      } catch (error) {
        return isGitwharfError(error, "pack/bad-index");
      }
    };
    expect(layersOf(base, middle, top)).toBe(3);
    for (const files of [
      [base, top],
      [base, base],
      [base, middle, middle],
      [base, middle.subarray(0, 500)],
      [middle],
      [top, middle, base],
    ]) {
      expect(refused(...files)).toBe(true);
    }
    expect(layersOf(base, top)).toBe(1);
    expect(layersOf(base, middle, base)).toBe(2);
    const otherBase = Buffer.from(base);
    otherBase[otherBase.length - 1] = (otherBase.at(-1) as number) ^ 1;
    expect(layersOf(otherBase, middle, top)).toBe(1);
    const usable = CommitGraph.parseUsable([base, middle, top.subarray(0, 300)].map(shared), format);
    expect(usable.find(git("", "rev-parse", "b1"))).toBeGreaterThanOrEqual(0);
    expect(usable.find(git("", "rev-parse", "b2"))).toBe(-1);
    expect(() => layersOf(middle, top)).toThrow("layers");
  });

  it("is refused when a corrected date points behind its table", () => {
    addCommits(
      "main",
      dates(10, (i) => 1_600_000_000 + i),
    );
    git("", "commit-graph", "write", "--reachable");
    const file = single();
    const row = Array.from({ length: file[6] as number }, (_, i) => 8 + i * 12).find(
      (at) => file.toString("latin1", at, at + 4) === "GDA2",
    ) as number;
    file[Number(file.readBigUInt64BE(row + 4))] = 0x80;
    expect(() => CommitGraph.parse([shared(file)], format)).toThrow("a corrected date points outside of it");
  });
});
