/**
 * A small process that runs git for the tests of one file. To start a program, Node copies the page tables of the process that
 * starts it, and waits: one with a test runner and a server in it takes many times as long as this one. Not for programs that
 * are sent signals, or whose output is read while they run.
 */
import { type ChildProcess, fork, spawn } from "node:child_process";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { listenGitHttpAdapter } from "./git-http-adapter.js";

export interface GitRun {
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly input: string | Uint8Array | undefined;
}

export interface GitResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

type Question = { readonly id: number } & (
  | { readonly run: GitRun }
  | { readonly listenFor: string }
  | { readonly closePort: number }
);
type Asked = Question extends infer Each ? (Each extends Question ? Omit<Each, "id"> : never) : never;

interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: Error;
}

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

let runner: ChildProcess | undefined;
const waiting = new Map<number, Waiting>();
let lastId = 0;

/** Rejects when git cannot be started. */
export async function runGit(run: GitRun): Promise<GitResult> {
  return (await ask({ run })) as GitResult;
}

/** @param root of `git http-backend`. @returns the port */
export async function startGitHttpAdapter(root: string): Promise<number> {
  return (await ask({ listenFor: root })) as number;
}

export async function endGitHttpAdapter(port: number): Promise<void> {
  await ask({ closePort: port });
}

function ask(asked: Asked): Promise<unknown> {
  const child = (runner ??= startRunner());
  const id = ++lastId;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    // It ends with this process, and does not keep it.
    child.ref();
    child.channel?.ref();
    child.send({ ...asked, id } satisfies Question);
  });
}

function startRunner(): ChildProcess {
  const child = fork(fileURLToPath(import.meta.url), {
    execArgv: [],
    serialization: "advanced",
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  child.on("message", (message) => {
    const { id, result, error } = message as Answer;
    const asked = waiting.get(id);
    waiting.delete(id);
    if (waiting.size === 0) {
      child.unref();
      child.channel?.unref();
    }
    if (error === undefined) asked?.resolve(result);
    else asked?.reject(error);
  });
  child.once("exit", (code, signal) => {
    if (runner === child) runner = undefined;
    for (const { reject } of waiting.values())
      reject(new Error(`the process that runs git ended with ${code ?? signal}`));
    waiting.clear();
  });
  return child;
}

const adapters = new Map<number, Server>();

async function answerTo(question: Question): Promise<unknown> {
  if ("run" in question) return spawnGit(question.run);
  if ("listenFor" in question) {
    const server = await listenGitHttpAdapter(question.listenFor);
    const { port } = server.address() as AddressInfo;
    adapters.set(port, server);
    return port;
  }
  const server = adapters.get(question.closePort);
  adapters.delete(question.closePort);
  server?.closeAllConnections();
  await new Promise((resolve) => server?.close(resolve) ?? resolve(undefined));
  return undefined;
}

function spawnGit({ args, cwd, env, input }: GitRun): Promise<GitResult> {
  return new Promise((resolve, reject) => {
    const child = spawn("git", args, { cwd, env });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
    child.on("error", reject);
    child.on("close", (status) =>
      resolve({
        status,
        stdout: Buffer.concat(out).toString("utf8"),
        stderr: Buffer.concat(err).toString("utf8"),
      }),
    );
    child.stdin.on("error", () => undefined);
    child.stdin.end(input);
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const answer = (message: Answer): void => void process.send?.(message);
  process.on("message", (message) => {
    const question = message as Question;
    const { id } = question;
    answerTo(question).then(
      (result) => answer({ id, result }),
      (error: unknown) => answer({ id, error: error instanceof Error ? error : new Error(String(error)) }),
    );
  });
  process.on("disconnect", () => process.exit());
}
