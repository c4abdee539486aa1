/**
 * A process's output as lines of a log: split where lines end, and where they are too long. Bytes that are no UTF-8 become
 * U+FFFD, control characters are left out, so that a log can be shown on a terminal.
 */
export const LINE_CHARACTERS_MAX = 10_000;

export interface OutputLines {
  /** Lines that are whole by now. */
  add(chunk: Uint8Array): readonly string[];
  /** What came after the last line break. */
  end(): readonly string[];
}

export function createOutputLines(): OutputLines {
  const decoder = new TextDecoder();
  let rest = "";
  const take = (text: string): readonly string[] => {
    const lines: string[] = [];
    const parts = (rest + text).split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) lines.push(...pieces(part));
    while (rest.length > LINE_CHARACTERS_MAX) {
      lines.push(shown(rest.slice(0, LINE_CHARACTERS_MAX)));
      rest = rest.slice(LINE_CHARACTERS_MAX);
    }
    return lines;
  };
  return {
    add: (chunk) => take(decoder.decode(chunk, { stream: true })),
    end() {
      const lines = [...take(decoder.decode())];
      if (rest !== "") lines.push(...pieces(rest));
      rest = "";
      return lines;
    },
  };
}

/** Of a text that is there as a whole: a command, a reason. */
export function linesOf(text: string): readonly string[] {
  return text.split("\n").flatMap(pieces);
}

function pieces(line: string): readonly string[] {
  if (line.length <= LINE_CHARACTERS_MAX) return [shown(line)];
  const all: string[] = [];
  for (let at = 0; at < line.length; at += LINE_CHARACTERS_MAX)
    all.push(shown(line.slice(at, at + LINE_CHARACTERS_MAX)));
  return all;
}

/** Without colours and other sequences of a terminal, and without what is left of them; tabs stay. */
function shown(line: string): string {
  return line.replaceAll(/\x1b\[[0-9;?]*[ -/]*[@-~]/g, "").replaceAll(/[\0-\x08\x0a-\x1f\x7f-\x9f]/g, "");
}
