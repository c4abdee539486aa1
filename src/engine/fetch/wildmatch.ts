/**
 * git's shell patterns (wildmatch) over byte strings: `*` `?` `[…]` `\`, and `**` between slashes. Matched by
 * following all possibilities at once, so that the time is at most pattern length × text length: patterns come from
 * pushed blobs. Strings hold one byte a character (latin1).
 */
type Token =
  | { readonly kind: "literal"; readonly code: number }
  /** One character; never a slash in a path. */
  | { readonly kind: "any" }
  | { readonly kind: "class"; readonly negated: boolean; readonly members: Uint8Array }
  /** Any run of characters without a slash in a path. */
  | { readonly kind: "star" }
  /** Any run of characters. */
  | { readonly kind: "deep-star" }
  /** Nothing, or any run of characters that ends in a slash: `**` and its `/`. */
  | { readonly kind: "directories" };

export interface Wildmatch {
  matches(text: string): boolean;
}

const SLASH = 0x2f;

/** @param path wildcards do not match slashes, and `**` does (git's WM_PATHNAME) */
export function compileWildmatch(pattern: string, options: { readonly path: boolean }): Wildmatch {
  const { path } = options;
  const tokens = parseTokens(pattern, path);
  if (tokens === undefined) return { matches: () => false };
  const literal = tokens.every((t) => t.kind === "literal")
    ? Buffer.from(tokens.map((t) => (t as { code: number }).code)).toString("latin1")
    : undefined;
  if (literal !== undefined) return { matches: (text) => text === literal };
  return { matches: (text) => run(tokens, text, path) };
}

function run(tokens: readonly Token[], text: string, path: boolean): boolean {
  const n = tokens.length;
  let states = new Uint8Array(n + 1);
  let next = new Uint8Array(n + 1);
  const enter = (set: Uint8Array, from: number): void => {
    for (let i = from; set[i] !== 1; i++) {
      set[i] = 1;
      const kind = tokens[i]?.kind;
      if (kind !== "star" && kind !== "deep-star" && kind !== "directories") return;
    }
  };
  enter(states, 0);
  for (let at = 0; at < text.length; at++) {
    const c = text.charCodeAt(at);
    let alive = false;
    next.fill(0);
    for (let i = 0; i < n; i++) {
      if (states[i] !== 1) continue;
      const token = tokens[i] as Token;
      switch (token.kind) {
        case "literal":
          if (token.code !== c) continue;
          enter(next, i + 1);
          break;
        case "any":
          if (path && c === SLASH) continue;
          enter(next, i + 1);
          break;
        case "class":
          if (path && c === SLASH) continue;
          if ((token.members[c] === 1) === token.negated) continue;
          enter(next, i + 1);
          break;
        case "star":
          if (path && c === SLASH) continue;
          enter(next, i);
          break;
        case "deep-star":
          enter(next, i);
          break;
        case "directories":
          // Only a slash leads out of it; the state itself must not leak into what follows.
          next[i] = 2;
          if (c === SLASH) enter(next, i + 1);
          break;
      }
      alive = true;
    }
    for (let i = 0; i < n; i++) if (next[i] === 2) next[i] = 1;
    if (!alive) return false;
    [states, next] = [next, states];
  }
  return states[n] === 1;
}

function parseTokens(pattern: string, path: boolean): Token[] | undefined {
  const tokens: Token[] = [];
  for (let i = 0; i < pattern.length; ) {
    const c = pattern.charAt(i);
    if (c === "\\") {
      if (i + 1 >= pattern.length) return undefined;
      tokens.push({ kind: "literal", code: pattern.charCodeAt(i + 1) });
      i += 2;
    } else if (c === "?") {
      tokens.push({ kind: "any" });
      i++;
    } else if (c === "[") {
      const parsed = parseClass(pattern, i + 1);
      if (parsed === undefined) return undefined;
      tokens.push(parsed.token);
      i = parsed.end;
    } else if (c === "*") {
      let end = i;
      while (pattern.charAt(end) === "*") end++;
      const opens = i === 0 || pattern.charAt(i - 1) === "/";
      const closes = end === pattern.length || pattern.charAt(end) === "/";
      if (!path) tokens.push({ kind: "deep-star" });
      else if (end - i >= 2 && opens && closes) {
        if (end < pattern.length) {
          tokens.push({ kind: "directories" });
          end++;
        } else tokens.push({ kind: "deep-star" });
      } else tokens.push({ kind: "star" });
      i = end;
    } else {
      tokens.push({ kind: "literal", code: pattern.charCodeAt(i) });
      i++;
    }
  }
  return tokens;
}

const NAMED: Readonly<Record<string, RegExp>> = {
  alnum: /[0-9A-Za-z]/,
  alpha: /[A-Za-z]/,
  blank: /[ \t]/,
  cntrl: /[\0-\x1f\x7f]/,
  digit: /[0-9]/,
  graph: /[!-~]/,
  lower: /[a-z]/,
  print: /[ -~]/,
  punct: /[!-/:-@[-`{-~]/,
  space: /[\t-\r ]/,
  upper: /[A-Z]/,
  xdigit: /[0-9A-Fa-f]/,
};

function parseClass(pattern: string, start: number): { token: Token; end: number } | undefined {
  const members = new Uint8Array(256);
  let i = start;
  const negated = pattern.charAt(i) === "!" || pattern.charAt(i) === "^";
  if (negated) i++;
  let first = true;
  for (;;) {
    if (i >= pattern.length) return undefined;
    if (pattern.charAt(i) === "]" && !first) break;
    first = false;
    if (pattern.startsWith("[:", i)) {
      const close = pattern.indexOf(":]", i + 2);
      const named = close < 0 ? undefined : NAMED[pattern.slice(i + 2, close)];
      if (named === undefined) return undefined;
      for (let c = 0; c < 128; c++) if (named.test(String.fromCharCode(c))) members[c] = 1;
      i = close + 2;
      continue;
    }
    if (pattern.charAt(i) === "\\") i++;
    if (i >= pattern.length) return undefined;
    const low = pattern.charCodeAt(i++);
    let high = low;
    if (pattern.charAt(i) === "-" && i + 1 < pattern.length && pattern.charAt(i + 1) !== "]") {
      i++;
      if (pattern.charAt(i) === "\\") i++;
      if (i >= pattern.length) return undefined;
      high = pattern.charCodeAt(i++);
    }
    for (let c = low; c <= high && c < 256; c++) members[c] = 1;
  }
  return { token: { kind: "class", negated, members }, end: i + 1 };
}
