/**
 * What another Git server says, for a terminal: every line begins with `remote: `, as git has it, also those that are
 * overwritten and those that come in pieces.
 */

/** Of a line without an end, so much is kept. */
const LINE_CHARACTERS_MAX = 4096;

export interface RemoteLines {
  /** @param text control characters taken out, but for line breaks */
  add(text: string): void;
  /** What is left without an end. */
  end(): void;
}

export function createRemoteLines(write: (text: string) => void): RemoteLines {
  let begun = "";
  return {
    add(text) {
      const lines = (begun + text).split(/(?<=[\r\n])/);
      const last = lines.at(-1) ?? "";
      const isWhole = /[\r\n]$/.test(last) || last.length > LINE_CHARACTERS_MAX;
      begun = isWhole ? "" : last;
      const out = (isWhole ? lines : lines.slice(0, -1)).filter((line) => !/^[\r\n]?$/.test(line));
      if (out.length > 0) write(out.map((line) => `remote: ${line}`).join(""));
    },
    end() {
      if (begun !== "") write(`remote: ${begun}\n`);
      begun = "";
    },
  };
}
