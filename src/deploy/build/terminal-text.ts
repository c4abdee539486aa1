/**
 * What programs print for a terminal, as text: escape sequences are taken out, since between them and the pusher's terminal
 * stands git; colours too, unless somebody can show them. Bytes may be cut anywhere. Specification: ECMA-48, 5.4 (control
 * sequences), 8.3.89 (OSC), 8.3.117 (SGR).
 */

/** A sequence that does not end within this is no sequence. */
const SEQUENCE_MAX = 256;
const COMPLETE = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-Z\\^-~])/g;

export interface TerminalText {
  add(bytes: Uint8Array): string;
  /** What was held back. */
  end(): string;
}

const COLOUR = /^\x1b\[[0-9;:]{0,32}m$/;
const PLAIN = "\x1b[0m";

/** @param options.keepsColours every colour that was begun ends with the text */
export function createTerminalText({
  keepsColours = false,
}: {
  readonly keepsColours?: boolean;
} = {}): TerminalText {
  const decoder = new TextDecoder();
  let held = "";
  let isColoured = false;
  const shown = (sequence: string): string => {
    if (!keepsColours || !COLOUR.test(sequence)) return "";
    isColoured = !/^\x1b\[0*m$/.test(sequence);
    return sequence;
  };
  const clean = (text: string): string => text.replace(COMPLETE, shown).replaceAll("\r\n", "\n");
  return {
    add(bytes) {
      const raw = held + decoder.decode(bytes, { stream: true });
      // What has begun and may go on: the first that is none of the whole ones.
      const begun = raw.replace(COMPLETE, (sequence) => " ".repeat(sequence.length)).indexOf("\x1b");
      const tail = begun < 0 ? "" : raw.slice(begun);
      held = "";
      if (tail !== "" && tail.length < SEQUENCE_MAX && !tail.includes("\n")) held = tail;
      else if (raw.endsWith("\r")) held = "\r";
      return clean(raw.slice(0, raw.length - held.length));
    },
    end() {
      const text = clean(held + decoder.decode());
      held = "";
      if (!isColoured) return text;
      isColoured = false;
      return text + PLAIN;
    },
  };
}
