/**
 * One of the states that a repository was in, and how it is written behind a name:
 *
 *     team/app@{41}                     generation 41 (`gitwharf history`)
 *     team/app@{2026-11-22T10:00:00Z}   what was current then; with a zone, or a date alone: its first moment in UTC
 *
 * No name of a repository has an `@`, so that both can be told from each other.
 */
import { GitwharfError } from "../../base/errors.js";

/** `timeMs`: the one that was current then. */
export type PointInTime = { readonly generation: number } | { readonly timeMs: number };

export interface NamedPoint {
  readonly name: string;
  /** undefined: as it is now. */
  readonly at: PointInTime | undefined;
}

const BEHIND_NAME = /^([^@]+)@\{([^{}]*)\}$/;
const GENERATION = /^[0-9]{1,15}$/;
const TIME = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(?:Z|[+-]\d\d:\d\d))?$/;

/**
 * Of what people may write, `.git` at its end or before the `@` too.
 * @param parseName of the name alone. @returns it as `splitPastName` takes it
 * @throws storage/bad-name
 */
export function parsePastName(text: string, parseName: (text: string) => string): string {
  const [, name, point] = BEHIND_NAME.exec(text.replace(/\.git$/, "")) ?? [];
  if (name === undefined || point === undefined) return parseName(text);
  const named = `${parseName(name)}@{${point}}`;
  splitPastName(named);
  return named;
}

/** @param text a checked name, with a point in time or without. @throws storage/bad-name when the point is none */
export function splitPastName(text: string): NamedPoint {
  const [, name, point = ""] = BEHIND_NAME.exec(text) ?? [];
  if (name === undefined) return { name: text, at: undefined };
  if (GENERATION.test(point)) return { name, at: { generation: Number(point) } };
  const timeMs = TIME.test(point) ? Date.parse(point) : Number.NaN;
  if (!Number.isNaN(timeMs)) return { name, at: { timeMs } };
  const shown = JSON.stringify(point.slice(0, 60)).slice(1, -1);
  throw new GitwharfError(
    "storage/bad-name",
    `'${shown}' is no point in time: write NAME@{41}, a generation, or NAME@{2026-11-22T10:00:00Z}`,
  );
}
