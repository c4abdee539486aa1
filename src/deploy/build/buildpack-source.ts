/**
 * Where buildpacks come from: directories that the configuration names, and addresses of BUILDPACK_URL that it allows. What
 * an address leads to runs where builds run, but is fetched by the server: nobody gets it to ask elsewhere.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { lstat, mkdir, readdir, rename, rm, rmdir } from "node:fs/promises";
import { isAbsolute, join } from "node:path";
import type { Writable } from "node:stream";
import { GitwharfError } from "../../base/errors.js";
import { compileWildmatch } from "../../engine/fetch/wildmatch.js";
import { watchDisk } from "../executors/disk-use.js";
import { BuildFailure } from "./build-failure.js";

export interface NamedBuildpack {
  /** As BUILDPACK_URL may call it: `heroku/nodejs`. */
  readonly name: string;
  /** Absolute; with `bin/detect` and `bin/compile` in it. */
  readonly directory: string;
}

export interface BuildpackSources {
  readonly named: readonly NamedBuildpack[];
  /** @throws BuildFailure when it is not allowed */
  resolve(text: string): NamedBuildpack | BuildpackAddress;
  /** Into an empty directory. @throws BuildFailure */
  fetch(address: BuildpackAddress, directory: string, signal: AbortSignal): Promise<void>;
}

export interface BuildpackAddress {
  /** Without the fragment. */
  readonly url: string;
  /** What the fragment says: a branch, a tag, a commit. */
  readonly ref: string;
}

export interface BuildpackSourceOptions {
  readonly named?: readonly NamedBuildpack[];
  /** Patterns of whole addresses: `https://github.com/heroku/*`. @default none */
  readonly allowed?: readonly string[];
  /** @default 120,000 */
  readonly fetchTimeoutMs?: number;
  /** Of a packed buildpack. @default 256 MiB */
  readonly archiveBytesMax?: number;
  /** Of what is made of it on the disk, history included. @default 1 GiB */
  readonly diskBytesMax?: number;
  /** @default 100,000 */
  readonly diskFilesMax?: number;
}

const REDIRECTIONS_MAX = 5;
const TIMEOUT_MS = 120_000;
const ARCHIVE_BYTES_MAX = 256 * 1024 * 1024;
const DISK_BYTES_MAX = 1024 * 1024 * 1024;
const DISK_FILES_MAX = 100_000;

/** @throws server/bad-configuration */
export function createBuildpackSources(options: BuildpackSourceOptions): BuildpackSources {
  const { named = [], allowed = [] } = options;
  const { fetchTimeoutMs = TIMEOUT_MS, archiveBytesMax = ARCHIVE_BYTES_MAX } = options;
  const { diskBytesMax = DISK_BYTES_MAX, diskFilesMax = DISK_FILES_MAX } = options;
  for (const { name, directory } of named) {
    if (name === "" || !isAbsolute(directory)) {
      throw new GitwharfError(
        "server/bad-configuration",
        `a buildpack has a name and an absolute directory; '${name}' has '${directory}'`,
      );
    }
  }
  const patterns = allowed.map((pattern) => compileWildmatch(bytesOf(pattern), { path: true }));
  const isAllowed = (url: string): boolean => patterns.some(({ matches }) => matches(bytesOf(url)));
  return {
    named,
    resolve(text) {
      const known = named.find(({ name }) => name === text);
      if (known !== undefined) return known;
      const address = parseAddress(text);
      if (address === undefined || !isAllowed(address.url)) {
        const names = named.map(({ name }) => name);
        throw new BuildFailure(
          `the buildpack ${text.slice(0, 200)} is not allowed here` +
            (names.length === 0 ? "" : `; there are ${names.join(", ")}`),
        );
      }
      return address;
    },
    async fetch(address, directory, signal) {
      const ending = new AbortController();
      const timer = setTimeout(
        () => ending.abort(`it took more than ${fetchTimeoutMs / 1000} seconds`),
        fetchTimeoutMs,
      );
      const limit = AbortSignal.any([signal, ending.signal]);
      await mkdir(directory, { recursive: true, mode: 0o755 });
      // A small archive may become a large directory.
      const disk = watchDisk([directory], { diskBytesMax, diskFilesMax }, (why) => ending.abort(why));
      try {
        if (/\.(?:tgz|tar\.gz)$/.test(new URL(address.url).pathname))
          await fetchArchive(address.url, directory, { limit, isAllowed, archiveBytesMax });
        else await fetchRepository(address, directory, limit);
        await disk.stop(true);
        limit.throwIfAborted();
      } catch (error) {
        if (error instanceof BuildFailure) throw error;
        const reason: unknown = limit.reason;
        const said = error instanceof Error ? error.message : String(error);
        const why = typeof reason === "string" ? reason : said;
        throw new BuildFailure(`the buildpack ${address.url} could not be fetched: ${why}`);
      } finally {
        clearTimeout(timer);
        await disk.stop();
      }
    },
  };
}

/** @returns undefined when it is no address that anything is fetched from */
function parseAddress(text: string): BuildpackAddress | undefined {
  let url: URL;
  let ref: string;
  try {
    url = new URL(text);
    ref = decodeURIComponent(url.hash.slice(1)) || "HEAD";
  } catch {
    return undefined;
  }
  if (!["https:", "http:", "file:"].includes(url.protocol)) return undefined;
  // What begins with a dash would be an option, a colon would name a ref to write.
  if (!/^[A-Za-z0-9_][A-Za-z0-9_./-]*$/.test(ref) || ref.includes("..")) return undefined;
  url.hash = "";
  return { url: url.href, ref };
}

function bytesOf(text: string): string {
  return Buffer.from(text).toString("latin1");
}

async function fetchRepository(
  { url, ref }: BuildpackAddress,
  directory: string,
  signal: AbortSignal,
): Promise<void> {
  const git = (...args: readonly string[]): Promise<void> =>
    finished(
      spawn("git", ["-c", "core.hooksPath=/dev/null", "-c", "http.followRedirects=false", ...args], {
        cwd: directory,
        stdio: ["ignore", "ignore", "pipe"],
        // It has programs of its own that go to the network.
        detached: true,
        env: {
          PATH: process.env["PATH"],
          HOME: "/nonexistent",
          LC_ALL: "C",
          GIT_CONFIG_NOSYSTEM: "1",
          GIT_CONFIG_GLOBAL: "/dev/null",
          GIT_TERMINAL_PROMPT: "0",
          GIT_ALLOW_PROTOCOL: new URL(url).protocol.slice(0, -1),
        },
      }),
      signal,
    );
  await git("init", "--quiet", "--template=", ".");
  await git("fetch", "--quiet", "--depth=1", "--no-tags", "--", url, ref);
  await git("checkout", "--quiet", "--detach", "FETCH_HEAD");
  await rm(join(directory, ".git"), { recursive: true, force: true });
}

async function fetchArchive(
  first: string,
  directory: string,
  options: {
    readonly limit: AbortSignal;
    readonly isAllowed: (url: string) => boolean;
    readonly archiveBytesMax: number;
  },
): Promise<void> {
  const { limit, isAllowed, archiveBytesMax } = options;
  const body = await follow(first, isAllowed, limit);
  const tar = spawn(
    "tar",
    ["--extract", "--gzip", "--no-same-owner", "--no-same-permissions", `--directory=${directory}`],
    { stdio: ["pipe", "ignore", "pipe"], detached: true, env: { PATH: process.env["PATH"], LC_ALL: "C" } },
  );
  const ended = finished(tar, limit);
  ended.catch(() => undefined);
  const input = tar.stdin as Writable;
  input.on("error", () => undefined);
  let bytes = 0;
  try {
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      bytes += chunk.length;
      if (bytes > archiveBytesMax) throw new Error(`it has more than ${archiveBytesMax} bytes`);
      if (input.destroyed) break;
      if (!input.write(chunk)) await Promise.race([once(input, "drain"), ended]);
    }
    input.end();
  } catch (error) {
    killGroup(tar);
    throw error;
  }
  await ended;
  await unwrap(directory);
}

/** Every step of the way has to be allowed. */
async function follow(
  first: string,
  isAllowed: (url: string) => boolean,
  signal: AbortSignal,
): Promise<ReadableStream<Uint8Array>> {
  let url = first;
  for (let step = 0; step <= REDIRECTIONS_MAX; step++) {
    const answer = await fetch(url, { redirect: "manual", signal });
    const location = answer.headers.get("location");
    if (answer.status >= 300 && answer.status < 400 && location !== null) {
      await answer.body?.cancel();
      url = new URL(location, url).href;
      if (!isAllowed(url)) throw new Error(`it leads to ${url}, which is not allowed here`);
      continue;
    }
    if (!answer.ok || answer.body === null) throw new Error(`${url} answers ${answer.status}`);
    return answer.body as ReadableStream<Uint8Array>;
  }
  throw new Error(`it is redirected more than ${REDIRECTIONS_MAX} times`);
}

/** Archives of a repository have all in one directory. */
async function unwrap(directory: string): Promise<void> {
  const names = await readdir(directory);
  const [only] = names;
  if (only === undefined || names.length > 1 || only === "bin") return;
  const wrapped = join(directory, only);
  // A link leads out, and what it leads to is not ours to move.
  if (!(await lstat(wrapped)).isDirectory()) return;
  const inner: readonly string[] = await readdir(wrapped).catch(() => []);
  if (!inner.includes("bin") || inner.includes(only)) return;
  for (const name of inner) await rename(join(wrapped, name), join(directory, name));
  await rmdir(wrapped);
}

/** @param child of a group of its own */
async function finished(child: ChildProcess, signal: AbortSignal): Promise<void> {
  const onAbort = (): void => killGroup(child);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  let complaint = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    if (complaint.length < 1000) complaint += chunk.toString("utf8");
  });
  try {
    const [status] = (await once(child, "close")) as [number | null];
    if (signal.aborted) throw new Error("it was ended");
    if (status !== 0) throw new Error(complaint.trim() || `${child.spawnfile} exited with status ${status}`);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL");
  } catch {
    // It has gone.
  }
}
