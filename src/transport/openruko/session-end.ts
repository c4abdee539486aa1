/**
 * Why a session ends before its dyno does, and how the dyno is told. The wire between has no signals: the end of what the
 * client sends stands for SIGTERM, cutting the connection off for SIGKILL, which also comes when the first was not heeded.
 */
import type { GitwharfError } from "../../base/errors.js";

export interface SessionEnd {
  readonly how: "terminate" | "kill";
  /** Of the command. */
  readonly status: number;
  /** For the person; undefined: nobody is there, or knows it already. */
  readonly text: string | undefined;
  /** For the log. */
  readonly error: GitwharfError;
}

export const STATUS_REFUSED = 1;
export const STATUS_UNREACHABLE = 127;
export const STATUS_BROKEN_OFF = 128;

/** Signals of SSH (RFC 4254, section 6.9) by number; others are not passed on. */
const SIGNALS: Readonly<Record<string, number>> = { HUP: 1, INT: 2, QUIT: 3, KILL: 9, TERM: 15 };

/** undefined: it is not passed on. */
export function meaningOfSignal(name: string): Pick<SessionEnd, "how" | "status"> | undefined {
  const number = Object.hasOwn(SIGNALS, name) ? SIGNALS[name] : undefined;
  if (number === undefined) return undefined;
  return { how: name === "KILL" ? "kill" : "terminate", status: STATUS_BROKEN_OFF + number };
}
