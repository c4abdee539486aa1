/** What each part has found is kept in a file of its own, so that parts can be run one by one, and the page made of all. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import type { Table } from "./figures.js";
import { GROUND_TITLES, type GroundKind } from "./ground.js";

export interface PartResult {
  readonly part: string;
  readonly ground: GroundKind;
  readonly command: string;
  readonly date: string;
  readonly seconds: number;
  /** Mean of a minute, when it began: others that were at work on the machine. */
  readonly loadBefore: number;
  readonly machine: string;
  readonly tables: readonly Table[];
}

export interface PartTitle {
  readonly part: string;
  readonly title: string;
}

export function machine(): string {
  const git = execFileSync("git", ["--version"], { encoding: "utf8" }).trim();
  return `${cpus().length} × ${cpus()[0]?.model ?? "unknown CPU"}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}, ${git}`;
}

export function keepResult(directory: string, result: PartResult): void {
  mkdirSync(directory, { recursive: true });
  writeFileSync(pathOf(directory, result), `${JSON.stringify(result, undefined, 2)}\n`);
}

/** @param parts in their order */
export function formatPage(directory: string, parts: readonly PartTitle[]): string {
  const lines = [
    "# Benchmarks of the object store",
    "",
    "Written by `npm run bench:object-store -- --write` from what the parts have found, each run by the command that stands with it.",
    "",
    "Servers run beside each other, in processes of their own, and are asked in turn by a raw client that reads and drops the answer.",
    "Their work in the background (folding, garbage, witnesses, janitor) is switched off and measured by itself where it is measured at",
    "all. CPU is that of the server's processes; of Ceph, PostgreSQL and the client it is not. Requests and bytes are those between",
    "server and bucket, of a directory each file that is opened counts as a request and what is read from open files is not seen. Not one",
    "was a LIST. *Just started* is the first request of a new process with nothing of the bucket on its local disk, *cold* its next one, for",
    "another repository of the same kind, of which it has nothing either, *warm* are those that follow; of git each request is a process, and the pages of",
    "the operating system are warm in all cases. Figures are medians; ratios below 1: the object store needs less. Both databases and",
    "the directory wait for the disk; Ceph keeps all it has in memory. `git http-backend` stands behind nginx and fcgiwrap.",
    "Where the load average says that others were at work on the machine, wall times and their ratios wander by factors; CPU and",
    "what is counted hardly do.",
    "",
  ];
  for (const { part, title } of parts) {
    const found = (["directory", "ceph"] as const).flatMap(
      (ground) => readResult(directory, { part, ground }) ?? [],
    );
    if (found.length === 0) continue;
    lines.push(`## ${title}`, "");
    for (const result of found) lines.push(...formatResult(result));
  }
  return lines.join("\n");
}

function formatResult(result: PartResult): readonly string[] {
  const { ground, command, date, seconds, loadBefore, tables } = result;
  const load = `load average ${loadBefore.toFixed(1)}${loadBefore > 1 ? ", a loaded machine" : ""}`;
  return [
    `### ${GROUND_TITLES[ground]}`,
    "",
    `\`${command}\`: ${date}, ${result.machine}; ${load}; ${seconds.toFixed(0)} s.`,
    "",
    ...tables.flatMap(({ title, remarks, head, rows }) => [
      ...(title === undefined ? [] : [`#### ${title}`, ""]),
      ...(remarks === undefined ? [] : [remarks, ""]),
      `| ${head.join(" | ")} |`,
      `| ${head.map((_, i) => (i === 0 ? "---" : "--:")).join(" | ")} |`,
      ...rows.map((row) => `| ${row.join(" | ")} |`),
      "",
    ]),
  ];
}

function readResult(directory: string, result: Pick<PartResult, "part" | "ground">): PartResult | undefined {
  const path = pathOf(directory, result);
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as PartResult) : undefined;
}

function pathOf(directory: string, { part, ground }: Pick<PartResult, "part" | "ground">): string {
  return join(directory, `${part}-${ground}.json`);
}
