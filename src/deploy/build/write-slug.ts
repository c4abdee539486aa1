/**
 * A slug: a tar of the build directory without what `.slugignore` names. The names are chosen here and the archive is written
 * by GNU tar, which streams files of any size, keeps links as links, and is everywhere where buildpacks run.
 * Specification: tar(1).
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { GitwharfError, throwIfAborted } from "../../base/errors.js";
import { WorkBudget } from "../../engine/fetch/work-budget.js";
import type { IsIgnored } from "./slug-ignore.js";

/** Looking at the clock costs less than asking all rules about one name. */
const RULES_UNITS = 64;

/** @returns its bytes @throws base/aborted, storage/io */
export async function writeSlug(options: {
  readonly directory: string;
  readonly slug: string;
  readonly isIgnored: IsIgnored;
  readonly signal: AbortSignal;
}): Promise<number> {
  const { directory, slug, isIgnored, signal } = options;
  await mkdir(dirname(slug), { recursive: true, mode: 0o700 });
  const made = `${slug}.new`;
  const tar = spawn(
    "tar",
    [
      "--create",
      `--file=${made}`,
      `--directory=${directory}`,
      "--format=pax",
      "--pax-option=delete=atime,delete=ctime",
      "--numeric-owner",
      "--owner=0",
      "--group=0",
      "--no-recursion",
      "--null",
      "--verbatim-files-from",
      "--files-from=-",
    ],
    { stdio: ["pipe", "ignore", "pipe"], env: { PATH: process.env["PATH"], LC_ALL: "C" } },
  );
  const onAbort = (): void => void tar.kill("SIGKILL");
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    let complaint = "";
    tar.stderr.on("data", (chunk: Buffer) => {
      if (complaint.length < 1000) complaint += chunk.toString("utf8");
    });
    tar.stdin.on("error", () => undefined);
    const ended = once(tar, "close") as Promise<[number | null]>;
    // Heard now: it may end while names are still being written.
    ended.catch(() => undefined);
    for await (const name of namesIn(directory, isIgnored, signal)) {
      if (signal.aborted || tar.stdin.destroyed) break;
      if (!tar.stdin.write(Buffer.from(`./${name}\0`, "latin1")))
        await Promise.race([once(tar.stdin, "drain"), ended]).catch(() => undefined);
    }
    tar.stdin.end();
    const [status] = await ended;
    throwIfAborted(signal);
    if (status !== 0) {
      throw new GitwharfError(
        "storage/io",
        `the slug could not be written: ${complaint.trim() || `tar exited with status ${status}`}`,
      );
    }
    await rename(made, slug);
    return (await stat(slug)).size;
  } catch (error) {
    if (error instanceof GitwharfError) throw error;
    throw new GitwharfError("storage/io", "the slug could not be written: tar could not be run", {
      cause: error,
    });
  } finally {
    signal.removeEventListener("abort", onAbort);
    await rm(made, { force: true });
  }
}

/** In the order of their bytes, directories before what is in them; latin1. */
async function* namesIn(
  directory: string,
  isIgnored: IsIgnored,
  signal: AbortSignal,
): AsyncGenerator<string, void, void> {
  const budget = new WorkBudget({ signal });
  const waiting: string[] = [""];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const parent = next;
    const entries: { readonly name: string; readonly isDirectory: boolean }[] = [];
    // Names are bytes: not every one is UTF-8.
    const place = Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(parent, "latin1")]);
    for (const entry of await readdir(place, { withFileTypes: true, encoding: "latin1" })) {
      // A thousand rules for each of a million files: others want to run meanwhile.
      if (budget.spend(RULES_UNITS)) await budget.pause();
      const isDirectory = entry.isDirectory();
      const path = parent === "" ? entry.name : `${parent}/${entry.name}`;
      if ((isDirectory || entry.isFile() || entry.isSymbolicLink()) && !isIgnored(path, isDirectory))
        entries.push({ name: path, isDirectory });
    }
    entries.sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const { name } of entries) yield name;
    for (const entry of entries.toReversed()) if (entry.isDirectory) waiting.push(entry.name);
  }
}

/** `25.6M`, as Heroku prints it. */
export function formatSize(bytes: number): string {
  if (bytes < 1024) return `${bytes}B`;
  const units = ["K", "M", "G", "T"];
  let value = bytes / 1024;
  let unit = 0;
  while (value >= 999.95 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value >= 99.95 ? Math.round(value) : Math.round(value * 10) / 10}${units[unit]}`;
}
