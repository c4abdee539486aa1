/**
 * A PostgreSQL server of a test's own, from the programs that are installed: a data directory in the temporary one, a
 * Unix socket in it and no port, nothing synced unless it is asked for. Needs `initdb` and `postgres`: in
 * GITWHARF_TEST_POSTGRES_BIN, on the PATH, or where Debian puts them, whose package is installed if it can be. PostgreSQL does not
 * run as root: then as `nobody`. For a test file: `postgres.ts`.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import pg from "pg";
import { installDebianPackage } from "./debian-package.js";

export interface TestPostgres {
  /** Of an empty database that is not handed out a second time. */
  createDatabase(): Promise<string>;
  /** Ends every connection, as an operator does it; the data stay. */
  halt(): Promise<void>;
  /** After `halt`. */
  resume(): Promise<void>;
  stop(): Promise<void>;
}

/** GITWHARF_TEST_POSTGRES=skip leaves out what needs it. */
export const SKIP_POSTGRES = process.env["GITWHARF_TEST_POSTGRES"] === "skip";

export interface PostgresServerOptions {
  /** What was committed survives a power cut, as with PostgreSQL's own settings; tests do without. */
  readonly durable?: boolean;
  /** A directory in which an empty cluster is kept to be copied: to make one takes longer than most tests. */
  readonly patterns?: string;
}

export async function startPostgresServer({
  durable = false,
  patterns,
}: PostgresServerOptions = {}): Promise<TestPostgres> {
  await installDebianPackage("postgresql", () => findPrograms() !== undefined).catch((cause: unknown) => {
    throw new Error(
      "this test needs PostgreSQL's server programs (initdb, postgres): install them, name their directory in " +
        "GITWHARF_TEST_POSTGRES_BIN, or set GITWHARF_TEST_POSTGRES=skip",
      { cause },
    );
  });
  const programs = findPrograms() ?? "";
  const directory = mkdtempSync(join(tmpdir(), "gitwharf-postgres-"));
  const account: { readonly uid?: number; readonly gid?: number } = process.getuid?.() === 0 ? nobody() : {};
  if (account.uid !== undefined && account.gid !== undefined) chownSync(directory, account.uid, account.gid);
  const env = { PATH: process.env["PATH"], HOME: directory, LANG: "C" };
  const options = { cwd: directory, env, ...account };
  const data = join(directory, "data");
  const makeCluster = (path: string): void => {
    const flags = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"];
    execFileSync(join(programs, "initdb"), ["-D", path, ...flags], { ...options, stdio: "pipe" });
  };
  if (patterns === undefined) makeCluster(data);
  else {
    const pattern = join(patterns, "postgres");
    if (!existsSync(pattern)) {
      makeCluster(data);
      try {
        renameSync(data, pattern);
      } catch {
        // Another process was faster.
        rmSync(data, { recursive: true, force: true });
      }
    }
    execFileSync("cp", ["-a", pattern, data], { stdio: "pipe" });
  }
  const settings = [
    "listen_addresses=",
    `unix_socket_directories=${directory}`,
    ...(durable ? [] : ["fsync=off", "synchronous_commit=off", "full_page_writes=off"]),
    "shared_buffers=16MB",
    "max_connections=40",
  ];
  const start = async (): Promise<() => Promise<void>> => {
    const server = spawn(
      join(programs, "postgres"),
      ["-D", data, ...settings.flatMap((text) => ["-c", text])],
      { ...options, stdio: ["ignore", "ignore", "pipe"] },
    );
    const ended = once(server, "exit");
    await ready(server);
    return async () => {
      server.kill("SIGINT");
      await ended;
    };
  };
  let end: () => Promise<void>;
  try {
    end = await start();
  } catch (error) {
    rmSync(directory, { recursive: true, force: true });
    throw error;
  }
  let databases = 0;
  return {
    async createDatabase() {
      const name = `test_${++databases}`;
      const client = new pg.Client({ host: directory, user: "postgres", database: "postgres" });
      await client.connect();
      await client.query(`create database ${name}`);
      await client.end();
      return `postgres://postgres@/${name}?host=${encodeURIComponent(directory)}`;
    },
    halt: () => end(),
    async resume() {
      end = await start();
    },
    async stop() {
      await end();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function ready(server: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = "";
    server.stderr?.on("data", (chunk: Buffer) => {
      said = `${said}${chunk.toString()}`.slice(-4000);
      if (said.includes("ready to accept connections")) resolve();
    });
    server.once("error", reject);
    server.once("exit", (code) => reject(new Error(`postgres ended with ${code}: ${said}`)));
  });
}

function findPrograms(): string | undefined {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian).toSorted((a, b) => Number(b) - Number(a)) : [];
  const places = [
    process.env["GITWHARF_TEST_POSTGRES_BIN"] ?? "",
    ...(process.env["PATH"] ?? "").split(delimiter),
    ...versions.map((version) => join(debian, version, "bin")),
  ];
  return places.find(
    (place) => place !== "" && ["initdb", "postgres"].every((program) => existsSync(join(place, program))),
  );
}

function nobody(): { readonly uid: number; readonly gid: number } {
  const id = (flag: string): number => Number(execFileSync("id", [flag, "nobody"]).toString().trim());
  return { uid: id("-u"), gid: id("-g") };
}
