/**
 * The panic switch: a small file that is there while pushes (and reads, if it says so) are refused. Servers look at it
 * themselves, so that it works at once, without a restart and over one. One that cannot be read or understood refuses
 * everything: somebody wanted something stopped.
 *
 *   { "since": "2026-01-31T12:00:00.000Z", "reads": false, "message": "…" }
 */
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { GitwharfError } from "../base/errors.js";
import { type AuthorizationRequest, isReading } from "../engine/authorization.js";
import type { PushHandlers } from "../engine/push.js";

export interface PanicState {
  /** ISO. */
  readonly since: string | undefined;
  readonly reads: boolean;
  /** What people read. */
  readonly message: string;
}

export interface PanicSwitch {
  /** @throws access/suspended */
  admit(operation: AuthorizationRequest["operation"]): Promise<void>;
  /** Stops pushes that are under way, before their objects are published. To be called after all others. */
  readonly handler: PushHandlers;
}

export const PANIC_MESSAGE_MAX = 500;
const DEFAULT_MESSAGE = "this server takes no pushes at the moment; try again later";
const DEFAULT_MESSAGE_WITH_READS = "this server is closed at the moment; try again later";
/** How long an answer of the file system is good for. */
const FRESH_MS = 100;
const FILE_BYTES_MAX = 16 * 1024;

/** @returns undefined when it is off */
export async function readPanic(file: string): Promise<PanicState | undefined> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    return code === "ENOENT" || code === "ENOTDIR" ? undefined : everything();
  }
  try {
    if (text.length > FILE_BYTES_MAX) return everything();
    const value = JSON.parse(text) as Partial<Record<keyof PanicState, unknown>> | null;
    if (typeof value !== "object" || value === null || typeof value.reads !== "boolean") return everything();
    const { since, reads, message } = value;
    return {
      since: typeof since === "string" ? since : undefined,
      reads,
      message: typeof message === "string" ? messageOf(message, reads) : messageOf("", reads),
    };
  } catch {
    return everything();
  }
}

/** Whole or not at all: written beside it, then put in its place. */
export async function switchPanicOn(
  file: string,
  { reads, message = "" }: { readonly reads: boolean; readonly message?: string | undefined },
): Promise<PanicState> {
  const state = { since: new Date().toISOString(), reads, message: messageOf(message, reads) };
  const draft = `${file}.${process.pid}.new`;
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  await writeFile(draft, `${JSON.stringify(state)}\n`, { mode: 0o600, flush: true });
  await rename(draft, file);
  return state;
}

/** @returns false when it was off */
export async function switchPanicOff(file: string): Promise<boolean> {
  const was = (await readPanic(file)) !== undefined;
  await rm(file, { force: true });
  return was;
}

/** @param file undefined: there is no such switch */
export function createPanicSwitch(file: string | undefined): PanicSwitch {
  let known: Promise<PanicState | undefined> | undefined;
  let knownAt = 0;
  const state = (): Promise<PanicState | undefined> | undefined => {
    if (file === undefined) return undefined;
    const now = performance.now();
    if (known === undefined || now - knownAt > FRESH_MS) {
      knownAt = now;
      known = readPanic(file);
    }
    return known;
  };
  const refusal = async (): Promise<string | undefined> => (await state())?.message;
  return {
    async admit(operation) {
      const panic = await state();
      if (panic === undefined) return;
      if (!isReading(operation) || panic.reads) throw new GitwharfError("access/suspended", panic.message);
    },
    handler: { preReceive: refusal, update: refusal },
  };
}

function everything(): PanicState {
  return { since: undefined, reads: true, message: DEFAULT_MESSAGE_WITH_READS };
}

/** One line for a person's terminal. */
function messageOf(text: string, reads: boolean): string {
  const line = text
    // oxlint-disable-next-line no-control-regex
    .replaceAll(/[\0-\x1f\x7f-\x9f]+/g, " ")
    .trim()
    .slice(0, PANIC_MESSAGE_MAX);
  return line || (reads ? DEFAULT_MESSAGE_WITH_READS : DEFAULT_MESSAGE);
}
