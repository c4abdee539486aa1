/**
 * One line of the audit log: JSON that names the line before it by its SHA-256, over that line's exact bytes without the
 * line break. The first line of all names 64 zeros.
 *
 *   {"sequence":7,"time":"2026-01-31T12:00:00.000Z","previous":"5b0c…","event":"fetch",…}
 */
import { createHash } from "node:crypto";

export const GENESIS = "0".repeat(64);

/** What the next line hangs on. */
export interface ChainEnd {
  readonly sequence: number;
  readonly hash: string;
}

export interface AuditLine {
  readonly sequence: number;
  readonly previous: string;
  readonly event: string;
  readonly record: Readonly<Record<string, unknown>>;
}

const HASH = /^[0-9a-f]{64}$/;

export function isHash(value: unknown): value is string {
  return typeof value === "string" && HASH.test(value);
}

export function hashLine(line: Buffer | string): string {
  return createHash("sha256").update(line).digest("hex");
}

/** @param inner as `formatEntry` gives it */
export function linkLine(
  end: ChainEnd,
  time: number,
  inner: string,
): { readonly line: Buffer; readonly end: ChainEnd } {
  const sequence = end.sequence + 1;
  const head = { sequence, time: new Date(time).toISOString(), previous: end.hash };
  const line = Buffer.from(`${JSON.stringify(head).slice(0, -1)},${inner}`);
  return { line, end: { sequence, hash: hashLine(line) } };
}

/** undefined: it is none. */
export function parseLine(line: Buffer): AuditLine | undefined {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(line));
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const record = value as Readonly<Record<string, unknown>>;
  const { sequence, previous, event, time } = record;
  if (!Number.isSafeInteger(sequence) || (sequence as number) < 1) return undefined;
  if (!isHash(previous) || typeof event !== "string" || typeof time !== "string") return undefined;
  return { sequence: sequence as number, previous, event, record };
}
