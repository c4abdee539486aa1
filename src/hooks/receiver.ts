/**
 * Push to do something: the branches that may be pushed, and a function that is called for each with the pushed files at
 * hand. Files are written when they are asked for, into a directory that goes with the call, however it ends.
 */
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { GitwharfError } from "../base/errors.js";
import { compileWildmatch } from "../engine/fetch/wildmatch.js";
import type {
  CheckoutOptions,
  HandlerVerdict,
  Push,
  PushedRef,
  PushHandlers,
  Verdict,
} from "../engine/push.js";
import {
  makeKeptDirectory,
  makeTemporaryDirectory,
  sweepTemporaryDirectories,
} from "./temporary-directory.js";

export interface ReceiverOptions {
  /** Patterns of branches: `main`, `feature/*`, `release/**`. @default every branch */
  readonly branches?: readonly string[];
  /** Patterns of tags. @default none */
  readonly tags?: readonly string[];
  /** Patterns of repository names; pushes to others are none of its business. @default every repository */
  readonly repositories?: readonly string[];
  /** What becomes of refs that no pattern names. @default "refuse" */
  readonly otherwise?: "refuse" | "accept";
  /**
   * "before": the handler may refuse, and nobody sees the commits yet; "after": the refs have moved, and the handler runs
   * to its end when the pusher leaves.
   * @default "before"
   */
  readonly when?: "before" | "after";
  /** Write the files before the handler is called: `received.directory`. @default false */
  readonly checkout?: boolean | readonly string[];
  /** Where directories are made. @default the system's */
  readonly temporaryDirectory?: string;
  /** Leave the directories where they are, to look into them. @default false */
  readonly keep?: boolean;
  /** @default the server's `handlerTimeoutMs` */
  readonly timeoutMs?: number;
  /** Called for each ref that is created or moved, one after the other; a text refuses it. */
  readonly handler: (received: Received) => HandlerVerdict;
}

export interface Received {
  readonly push: Push;
  readonly update: PushedRef;
  /** Its branch (or tag), `feature/x` as a whole. */
  readonly branch: string;
  /** The files, when `checkout` asked for them; else "". */
  readonly directory: string;
  /** Writes the files, or those that the pathspecs name, into a directory of its own; returns the directory. */
  checkout(options?: CheckoutOptions): Promise<string>;
  readonly print: Push["print"];
  readonly signal: AbortSignal;
}

/** @throws server/bad-configuration */
export function createReceiver(options: ReceiverOptions): PushHandlers {
  checkReceiver(options);
  void sweepTemporaryDirectories(options.temporaryDirectory ?? tmpdir());
  const branches = matcherOf(options.branches ?? ["**"]);
  const tags = matcherOf(options.tags ?? []);
  const isMine = matcherOf(options.repositories ?? ["**"]);
  const isAllowed = ({ kind, shortName }: PushedRef): boolean =>
    kind === "branch" ? branches(shortName) : kind === "tag" && tags(shortName);
  const limit = options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs };
  const refusal = (push: Push, update: PushedRef): Verdict => {
    if (!isMine(push.repository.name) || isAllowed(update) || options.otherwise === "accept")
      return undefined;
    const allowed = [
      ...(options.branches ?? ["every branch"]),
      ...(options.tags ?? []).map((tag) => `tag ${tag}`),
    ];
    return `only ${allowed.join(", ")} may be pushed here`;
  };
  const receive = async (push: Push, update: PushedRef): Promise<Verdict | void> => {
    if (!isMine(push.repository.name) || !isAllowed(update) || update.deleted) return undefined;
    return handle(options, push, update);
  };
  if (options.when === "after") {
    return {
      ...limit,
      update: refusal,
      async postReceive(push, updates) {
        for (const update of updates) {
          const said = await receive(push, update);
          if (typeof said === "string") await push.print(`${said}\n`);
        }
      },
    };
  }
  return { ...limit, update: async (push, update) => refusal(push, update) ?? receive(push, update) };
}

async function handle(options: ReceiverOptions, push: Push, update: PushedRef): Promise<Verdict | void> {
  const { temporaryDirectory = tmpdir(), keep = false, checkout = false } = options;
  const directories: Promise<string>[] = [];
  let isOver = false;
  const make = async (wanted: CheckoutOptions = {}): Promise<string> => {
    if (isOver || push.signal.aborted)
      throw new GitwharfError("base/aborted", "the push is over: nothing is checked out any more");
    const made = keep
      ? makeKeptDirectory(temporaryDirectory)
      : makeTemporaryDirectory(temporaryDirectory, "receive");
    directories.push(made);
    const directory = await made;
    await update.checkout(directory, wanted);
    return directory;
  };
  const removeAll = async (): Promise<void> => {
    isOver = true;
    if (keep) return;
    for (const made of directories) {
      const directory = await made.catch(() => undefined);
      if (directory !== undefined) await rm(directory, { recursive: true, force: true, maxRetries: 3 });
    }
  };
  // A handler that does not listen to the signal must not keep the files for as long as it likes.
  const onAbort = (): void => void removeAll().catch(() => undefined);
  push.signal.addEventListener("abort", onAbort, { once: true });
  try {
    const paths = typeof checkout === "boolean" ? {} : { paths: checkout };
    return await options.handler({
      push,
      update,
      branch: update.shortName,
      directory: checkout === false ? "" : await make(paths),
      checkout: make,
      print: push.print,
      signal: push.signal,
    });
  } finally {
    push.signal.removeEventListener("abort", onAbort);
    await removeAll();
  }
}

function matcherOf(patterns: readonly string[]): (name: string) => boolean {
  const bytes = (text: string): string => Buffer.from(text).toString("latin1");
  const compiled = patterns.map((pattern) => compileWildmatch(bytes(pattern), { path: true }));
  return (name) => compiled.some(({ matches }) => matches(bytes(name)));
}

const KEYS = [
  "branches",
  "tags",
  "repositories",
  "otherwise",
  "when",
  "checkout",
  "temporaryDirectory",
  "keep",
  "timeoutMs",
  "handler",
] as const satisfies readonly (keyof ReceiverOptions)[];

function checkReceiver(options: ReceiverOptions): void {
  const wrong = (why: string): GitwharfError => new GitwharfError("server/bad-configuration", why);
  const odd = Object.keys(options).find((key) => !KEYS.some((known) => known === key));
  if (odd !== undefined) throw wrong(`a receiver has no '${odd}'; known are ${KEYS.join(", ")}`);
  if (typeof options.handler !== "function") throw wrong("a receiver needs a handler");
  for (const key of ["branches", "tags", "repositories"] as const) {
    const value: unknown = options[key];
    if (value !== undefined && !(Array.isArray(value) && value.every((one) => typeof one === "string")))
      throw wrong(`a receiver's ${key} is a list of patterns`);
  }
}
