/**
 * What programs print for a terminal, as text: colours and other escape sequences are taken out, since between them and the
 * pusher's terminal stands git. Bytes may be cut anywhere. Specification: ECMA-48, 5.4 (control sequences), 8.3.89 (OSC).
 */

/** A sequence that does not end within this is no sequence. */
const SEQUENCE_MAX = 256;
const COMPLETE = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-Z\\^-~])/g;

export interface TerminalText {
  add(bytes: Uint8Array): string;
  /** What was held back. */
  end(): string;
}

export function createTerminalText(): TerminalText {
  const decoder = new TextDecoder();
  let held = "";
  const clean = (text: string): string => text.replace(COMPLETE, "").replaceAll("\r\n", "\n");
  return {
    add(bytes) {
      const text = clean(held + decoder.decode(bytes, { stream: true }));
      const begun = text.indexOf("\x1b");
      const tail = begun < 0 ? "" : text.slice(begun);
      held = "";
      if (tail !== "" && tail.length < SEQUENCE_MAX && !tail.includes("\n")) held = tail;
      else if (text.endsWith("\r")) held = "\r";
      return text.slice(0, text.length - held.length);
    },
    end() {
      const text = clean(held + decoder.decode());
      held = "";
      return text;
    },
  };
}
