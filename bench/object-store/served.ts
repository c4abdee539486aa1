/** The servers of a comparison, each over what it keeps repositories in: an object store, or bare repositories on disk. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { copyRepository, git } from "../data.js";
import { dropConnections, type Remote } from "../raw-client.js";
import { startHttpBackend } from "../servers.js";
import type { Figures } from "./figures.js";
import type { Answer, Order, Storage } from "./server-process.js";

export type Who = "object store" | "disk" | "git http-backend";

export interface Served {
  readonly who: Who;
  /** Of bare repositories, where it keeps such. */
  readonly directory: string | undefined;
  remote(name: string): Remote;
  /** A new process, with nothing of the bucket on the local disk. Of git every request is one. */
  restart(): Promise<void>;
  create(name: string): Promise<void>;
  /** A repository with what another has, to be pushed to. */
  copy(from: string, name: string): Promise<void>;
  /** undefined: it has no way of its own to do that. */
  fork(parent: string, name: string): Promise<Figures | undefined>;
  collect(name: string): Promise<Figures | undefined>;
  measure(act: () => Promise<unknown>): Promise<Figures>;
  close(): Promise<void>;
}

const PROCESS = fileURLToPath(new URL("./server-process.js", import.meta.url));
/** What outlives an answer (closing files, worker threads) belongs to the work as well. */
const SETTLED_MS = 50;
const HTTP_BACKEND_PORT = 17_831;

export async function startServed(storage: Storage): Promise<Served> {
  let running: RunningServer | undefined;
  const current = (): RunningServer => {
    if (running === undefined) throw new Error(`the server over ${storage.kind} does not run`);
    return running;
  };
  const start = async (): Promise<void> => {
    await running?.stop();
    if (storage.kind === "disk") running = await runServer(storage);
    else {
      rmSync(storage.localDirectory, { recursive: true, force: true });
      running = await runServer(storage);
    }
    dropConnections();
  };
  await start();
  const plain = storage.kind === "disk" ? bareRepositories(storage.directory) : undefined;
  return {
    who: storage.kind,
    directory: plain?.directory,
    remote: (name) => ({ port: current().port, repository: `${name}.git` }),
    restart: start,
    async create(name) {
      if (plain === undefined) await current().ask({ do: "create", name });
      else plain.create(name);
    },
    async copy(from, name) {
      if (plain === undefined) await current().ask({ do: "fork", parent: from, name });
      else plain.copy(from, name);
    },
    async fork(parent, name) {
      return plain === undefined ? (await current().ask({ do: "fork", parent, name })).figures : undefined;
    },
    async collect(name) {
      if (plain !== undefined) {
        // As with git itself, which is measured beside it.
        git(plain.directory, "-C", `${name}.git`, "gc", "-q");
        return undefined;
      }
      const { outcome, figures } = await current().ask({ do: "collect", name });
      if (outcome !== "collected") throw new Error(`the garbage of ${name} was not collected: ${outcome}`);
      return figures;
    },
    async measure(act) {
      await current().ask({ do: "begin" });
      const wallMs = await timed(act);
      await settled();
      const { figures } = await current().ask({ do: "end" });
      return { ...figures, wallMs };
    },
    close: async () => running?.stop(),
  };
}

/** Behind nginx and fcgiwrap: needs the Debian packages nginx-light and fcgiwrap, and root for its control group. */
export async function startGit(work: string): Promise<Served> {
  const plain = bareRepositories(join(work, "git"));
  const backend = await startHttpBackend({
    repositories: plain.directory,
    port: HTTP_BACKEND_PORT,
    directory: join(work, "http-backend"),
  });
  const { group } = backend;
  const measure = async (act: () => Promise<unknown>): Promise<Figures> => {
    const before = group.cpuSeconds();
    const wallMs = await timed(act);
    await settled();
    return { wallMs, cpuMs: (group.cpuSeconds() - before) * 1000 };
  };
  const runGit = (...args: readonly string[]): Promise<Figures> =>
    measure(async () => {
      const child = group.spawn("git", ["-C", plain.directory, ...args], process.env);
      child.stdout?.resume();
      const [status] = (await once(child, "exit")) as [number | null];
      if (status !== 0) throw new Error(`git ${args.join(" ")} ended with ${status}`);
    });
  return {
    who: "git http-backend",
    directory: plain.directory,
    remote: (name) => ({ port: backend.port, repository: `${name}.git` }),
    restart: async () => dropConnections(),
    create: async (name) => plain.create(name),
    copy: async (from, name) => plain.copy(from, name),
    async fork(parent, name) {
      const figures = await runGit("clone", "-q", "--bare", `${parent}.git`, `${name}.git`);
      plain.configure(name);
      return figures;
    },
    collect: (name) => runGit("-C", `${name}.git`, "gc", "-q"),
    measure,
    close: async () => backend.stop(),
  };
}

interface RunningServer {
  readonly port: number;
  ask(order: Order): Promise<Answer>;
  stop(): Promise<void>;
}

async function runServer(storage: Storage): Promise<RunningServer> {
  const child = fork(PROCESS, { stdio: ["ignore", "inherit", "inherit", "ipc"], execArgv: [] });
  const { url = "" } = await ask(child, { do: "open", storage });
  return {
    port: Number(new URL(url).port),
    ask: (order) => ask(child, order),
    async stop() {
      await ask(child, { do: "close" });
      const ended = once(child, "exit");
      child.disconnect();
      await ended;
    },
  };
}

/** One order at a time. */
async function ask(child: ChildProcess, order: Order): Promise<Answer> {
  const leaving = new AbortController();
  const { signal } = leaving;
  try {
    child.send(order);
    const ended = once(child, "exit", { signal }).then(
      ([code]): Answer => ({ error: `it ended with ${code}` }),
    );
    const answered = once(child, "message", { signal }).then(([answer]) => answer as Answer);
    // Whichever comes second is of no interest.
    for (const each of [ended, answered]) each.catch(() => undefined);
    const answer = await Promise.race([answered, ended]);
    if (answer.error !== undefined) throw new Error(`the server could not ${order.do}: ${answer.error}`);
    return answer;
  } finally {
    leaving.abort();
  }
}

interface BareRepositories {
  readonly directory: string;
  /** Takes pushes, and has nothing done to it in the background. */
  configure(name: string): void;
  create(name: string): void;
  copy(from: string, name: string): void;
}

function bareRepositories(directory: string): BareRepositories {
  mkdirSync(directory, { recursive: true });
  const configure = (name: string): void => {
    for (const [key, value] of [
      ["http.receivepack", "true"],
      ["gc.auto", "0"],
      ["receive.autogc", "false"],
    ] as const)
      git(join(directory, `${name}.git`), "config", key, value);
  };
  return {
    directory,
    configure,
    create(name) {
      git(directory, "init", "-q", "--bare", "-b", "main", `${name}.git`);
      configure(name);
    },
    copy: (from, name) => copyRepository(join(directory, `${from}.git`), join(directory, `${name}.git`)),
  };
}

async function timed(act: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await act();
  return performance.now() - begun;
}

async function settled(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, SETTLED_MS));
}
