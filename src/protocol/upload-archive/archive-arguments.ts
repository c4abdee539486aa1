/**
 * The arguments of git-archive as a client sends them, one a pkt-line, and what they ask for.
 * Specification: git-upload-archive, git-archive. Bytes are held one a character (latin1): paths need not be UTF-8.
 *
 *     argument <option or word> LF …   0000
 */
import { GitwharfError } from "../../base/errors.js";
import { ARCHIVE_FORMATS, type ArchiveFormat } from "../../engine/archive/write-archive.js";
import type { PktLineReader } from "../wire/pkt-line.js";
import { quoteLine } from "../wire/request-line.js";

export type ArchiveArguments =
  | { readonly kind: "list" }
  | {
      readonly kind: "archive";
      readonly format: ArchiveFormat;
      readonly level: number | undefined;
      readonly prefix: string;
      readonly isVerbose: boolean;
      readonly treeish: string;
      readonly paths: readonly string[];
    };

const ARGUMENT = "argument ";
/** As git takes. */
const ARGUMENTS_MAX = 64;

/** Without `argument` and LF. @throws protocol/bad-request, base/truncated, and what the reader throws */
export async function readArchiveArguments(reader: PktLineReader): Promise<readonly string[]> {
  const words: string[] = [];
  for (;;) {
    const packet = await reader.next();
    if (packet.kind === "flush") return words;
    if (packet.kind === "eof")
      throw new GitwharfError("base/truncated", "the request ends before its arguments do");
    const text = packet.kind === "data" ? packet.payload.toString("latin1").replace(/\n$/, "") : "";
    if (packet.kind !== "data" || !text.startsWith(ARGUMENT))
      throw bad(`'argument' token or flush expected, not '${quoteLine(text)}'`);
    if (text.includes("\0")) throw bad("an argument contains NUL");
    if (words.push(text.slice(ARGUMENT.length)) > ARGUMENTS_MAX)
      throw bad(`too many options (>${ARGUMENTS_MAX})`);
  }
}

/** `none`: the option takes no value. */
const LONG_OPTIONS: Readonly<Record<string, "value" | "none">> = {
  format: "value",
  prefix: "value",
  output: "value",
  verbose: "none",
  list: "none",
  "worktree-attributes": "none",
  "add-file": "value",
  "add-virtual-file": "value",
  mtime: "value",
  remote: "value",
  exec: "value",
};

/** @throws protocol/bad-request */
export function parseArchiveArguments(words: readonly string[]): ArchiveArguments {
  const options = new Map<string, string>();
  const rest: string[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as string;
    const valueOf = (attached: string | undefined): string => {
      const value = attached ?? words[++i];
      if (value === undefined) throw bad(`option '${quoteLine(word)}' requires a value`);
      return value;
    };
    if (word === "--") {
      rest.push(...words.slice(i + 1));
      break;
    }
    if (word === "-" || !word.startsWith("-")) rest.push(word);
    else if (word.startsWith("--")) {
      const { name, attached } = longOption(word);
      if (LONG_OPTIONS[name] === "value") options.set(name, valueOf(attached));
      else if (attached === undefined) options.set(name, "");
      else throw bad(`option '${name}' takes no value`);
    } else if (/^-[0-9]{1,4}$/.test(word)) options.set("level", word.slice(1));
    else if (word === "-v") options.set("verbose", "");
    else if (word === "-l") options.set("list", "");
    else if (word.startsWith("-o")) options.set("output", valueOf(word.slice(2) || undefined));
    else throw bad(`unknown switch '${quoteLine(word)}'`);
  }
  for (const name of ["worktree-attributes", "add-file", "add-virtual-file", "mtime", "remote", "exec"]) {
    if (options.has(name)) throw bad(`the option '--${name}' is not taken from afar`);
  }
  if (options.has("list")) {
    if (rest.length > 0) throw bad(`extra command line parameter '${quoteLine(rest[0] ?? "")}'`);
    return { kind: "list" };
  }
  const [treeish, ...paths] = rest;
  if (treeish === undefined) throw bad("the request names no tree-ish");
  const format = formatOf(options.get("format") ?? "tar");
  return {
    kind: "archive",
    format,
    level: levelOf(options.get("level"), format),
    prefix: options.get("prefix") ?? "",
    isVerbose: options.has("verbose"),
    treeish,
    paths,
  };
}

/** Also by the beginning of its name, when there is no other. */
function longOption(word: string): { readonly name: string; readonly attached: string | undefined } {
  const equals = word.indexOf("=");
  const given = word.slice(2, equals < 0 ? undefined : equals);
  const attached = equals < 0 ? undefined : word.slice(equals + 1);
  if (Object.hasOwn(LONG_OPTIONS, given)) return { name: given, attached };
  const [name, ...others] = Object.keys(LONG_OPTIONS).filter((known) => known.startsWith(given));
  if (name === undefined) throw bad(`unknown option '${quoteLine(given)}'`);
  if (others.length > 0) throw bad(`ambiguous option '${quoteLine(given)}'`);
  return { name, attached };
}

function formatOf(name: string): ArchiveFormat {
  const format = ARCHIVE_FORMATS.find((known) => known === name);
  if (format === undefined) throw bad(`Unknown archive format '${quoteLine(name)}'`);
  return format;
}

function levelOf(text: string | undefined, format: ArchiveFormat): number | undefined {
  if (text === undefined) return undefined;
  const level = Number(text);
  if (format === "tar" || level > 9) throw bad(`Argument not supported for format '${format}': -${text}`);
  return level;
}

function bad(message: string): GitwharfError {
  return new GitwharfError("protocol/bad-request", message);
}
