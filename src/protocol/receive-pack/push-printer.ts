/**
 * Text for the pusher's terminal on band 2. git puts `remote: ` before every line; where its terminal can, a line begins
 * by going back over that and erasing it: `ESC [ 1 G`, `ESC [ K` (ECMA-48 CHA and EL).
 *
 * Whether there is a terminal nobody tells, but a git whose standard error is none asks for `quiet`. From 2.55 on git
 * shows the two as they are instead of obeying them (`sideband.allowControlCharacters`).
 */
import type { MaybePromise } from "../../base/maybe-promise.js";
import type { PrintOptions } from "../../engine/push.js";
import type { SerialSideBand } from "../wire/side-band.js";
import { sanitizeAllButColours, sanitizeText, sanitizeWithoutColours } from "../wire/sanitize.js";

const OVER_THE_PREFIX = "\x1b[1G\x1b[K";
const MASKS_FROM = { major: 2, minor: 55 };

export interface PushPrinter {
  readonly isTerminal: boolean;
  /** Nothing once the pusher has gone, or `end` was called. */
  print(text: string, options: PrintOptions | undefined, signal: AbortSignal): MaybePromise<void>;
  /** The answer is whole: a handler that was left behind prints no more. */
  end(): void;
}

/** @param bands undefined: the client takes no text */
export function createPushPrinter(
  bands: SerialSideBand | undefined,
  capabilities: ReadonlyMap<string, string>,
): PushPrinter {
  const isTerminal = bands !== undefined && !capabilities.has("quiet");
  const erases = isTerminal && obeysCursor(capabilities.get("agent") ?? "");
  let isAtStart = true;
  let isOver = false;
  const send = (
    to: SerialSideBand,
    text: string,
    { prefix = true, colours = false }: PrintOptions,
  ): MaybePromise<void> => {
    const wasAtStart = isAtStart;
    isAtStart = /[\n\r]$/.test(text);
    const sanitize = !colours ? sanitizeText : isTerminal ? sanitizeAllButColours : sanitizeWithoutColours;
    if (prefix || !erases) return to.terminal(sanitize(text));
    const lines = sanitize(text).split(/(?<=[\n\r])/);
    return to.terminal(lines.map((line, i) => (i > 0 || wasAtStart ? OVER_THE_PREFIX : "") + line).join(""));
  };
  const sendWhileThere = async (
    to: SerialSideBand,
    text: string,
    options: PrintOptions,
    signal: AbortSignal,
  ): Promise<void> => {
    try {
      await send(to, text, options);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  };
  return {
    isTerminal,
    print(text, options = {}, signal) {
      if (bands === undefined || isOver || signal.aborted || text === "") return undefined;
      return sendWhileThere(bands, text, options, signal);
    },
    end: () => (isOver = true),
  };
}

/** Other clients (JGit, libgit2) print what comes as it comes. */
function obeysCursor(agent: string): boolean {
  const [, major, minor] = /^git\/(\d+)\.(\d+)/.exec(agent) ?? [];
  if (major === undefined) return false;
  const [a, b] = [Number(major), Number(minor)];
  return a < MASKS_FROM.major || (a === MASKS_FROM.major && b < MASKS_FROM.minor);
}
