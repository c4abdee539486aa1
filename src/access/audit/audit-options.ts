/** The option `audit`: where the audit log goes and what happens when it cannot be written. */
import { GitwharfError } from "../../base/errors.js";
import type { AuditSink } from "./audit-entry.js";

export interface AuditOptions {
  /** A file that only grows; made when missing, readable by its owner only. */
  readonly file?: string;
  /** Receives entries in place of a file. */
  readonly sink?: AuditSink;
  /**
   * "sync": what a push asks for is on the disk before a ref moves, and what became of it before the pusher is told.
   * "none": written, but the operating system may keep it for a while.
   * @default the server's `durability`
   */
  readonly durability?: "sync" | "none";
  /** "refuse": no push without its line in the log. "continue": pushes go on, and the log says later how much it lacks. @default "refuse" */
  readonly onFailure?: "refuse" | "continue";
  /** Write fetches and archives that were served. Refused ones always are. @default true */
  readonly reads?: boolean;
}

const KNOWN = ["file", "sink", "durability", "onFailure", "reads"];

/** @throws server/bad-configuration */
export function auditOptionsOf(given: string | AuditSink | AuditOptions): AuditOptions {
  if (typeof given === "string") return checked({ file: given });
  if (typeof given === "function") return { sink: given };
  return checked(given);
}

function checked(options: AuditOptions): AuditOptions {
  const value: unknown = options;
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw wrong("audit is the path of a file, a function, or an object");
  const odd = Object.keys(options).find((key) => !KNOWN.includes(key));
  if (odd !== undefined) throw wrong(`audit has no '${odd}'; known are ${KNOWN.join(", ")}`);
  const { file, sink, durability, onFailure, reads } = options;
  if ((file === undefined) === (sink === undefined)) throw wrong("audit has either a file or a sink");
  if (file !== undefined && (typeof file !== "string" || file === ""))
    throw wrong("audit.file is the path of a file");
  if (sink !== undefined && typeof sink !== "function") throw wrong("audit.sink is a function");
  if (durability !== undefined && !["sync", "none"].includes(durability))
    throw wrong("audit.durability is sync or none");
  if (onFailure !== undefined && !["refuse", "continue"].includes(onFailure))
    throw wrong("audit.onFailure is refuse or continue");
  if (reads !== undefined && typeof reads !== "boolean") throw wrong("audit.reads is true or false");
  return options;
}

function wrong(message: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", message);
}
