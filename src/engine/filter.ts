/**
 * Object filters of partial clones, as a peer writes them: parsed and formatted, not applied
 * (`fetch/filter-evaluation.ts`). Specification: git-rev-list `--filter`, gitprotocol-v2 "filter".
 */
import { GitwharfError } from "../base/errors.js";
import type { Limits } from "../base/limits.js";
import type { ObjectType } from "../object/object-id.js";

export type ObjectFilter =
  | { readonly kind: "blob-none" }
  /** Leaves out blobs of at least so many bytes. */
  | { readonly kind: "blob-limit"; readonly limitBytes: number }
  /** Leaves out trees and blobs at this depth and below; a commit's own tree has depth 0. */
  | { readonly kind: "tree-depth"; readonly depth: number }
  | { readonly kind: "object-type"; readonly type: ObjectType }
  /** Only blobs that the sparse-checkout patterns in a blob would check out. `name`: an id, or `<rev>:<path>`. */
  | { readonly kind: "sparse-oid"; readonly name: string }
  /** What every one of them lets through. */
  | { readonly kind: "combine"; readonly filters: readonly ObjectFilter[] };

/** As `uploadpackfilter.<name>.allow` spells them. */
export type FilterName = "blob:none" | "blob:limit" | "tree" | "sparse:oid" | "object:type" | "combine";

export function filterName(filter: ObjectFilter): FilterName {
  switch (filter.kind) {
    case "blob-none":
      return "blob:none";
    case "blob-limit":
      return "blob:limit";
    case "tree-depth":
      return "tree";
    case "object-type":
      return "object:type";
    case "sparse-oid":
      return "sparse:oid";
    case "combine":
      return "combine";
  }
}

/** Filters in one `combine:` at all its levels together. */
const COMBINED_MAX = 256;
const SPEC_CHARACTERS_MAX = 16_384;
const RESERVED = "~`!@#$^&*()[]{}\\;'\",<>?";
const TYPES: readonly string[] = ["commit", "tree", "blob", "tag"];

/**
 * @throws protocol/bad-request with git's words when it is no filter
 * @throws base/limit-exceeded when it is nested too deep or too large
 */
export function parseFilter(spec: string, limits: Pick<Limits, "filterDepthMax">): ObjectFilter {
  if (spec.length > SPEC_CHARACTERS_MAX) {
    throw new GitwharfError(
      "base/limit-exceeded",
      `a filter has ${spec.length} characters; at most ${SPEC_CHARACTERS_MAX} are allowed`,
    );
  }
  return parse(spec, {
    depthLeft: limits.filterDepthMax,
    depthMax: limits.filterDepthMax,
    count: { left: COMBINED_MAX },
  });
}

interface Nesting {
  readonly depthLeft: number;
  readonly depthMax: number;
  readonly count: { left: number };
}

function parse(spec: string, nesting: Nesting): ObjectFilter {
  if (--nesting.count.left < 0) {
    throw new GitwharfError("base/limit-exceeded", `a filter combines more than ${COMBINED_MAX} filters`);
  }
  if (spec === "blob:none") return { kind: "blob-none" };
  if (spec.startsWith("blob:limit=")) {
    const limitBytes = parseNumber(spec.slice("blob:limit=".length));
    if (limitBytes !== undefined) return { kind: "blob-limit", limitBytes };
  } else if (spec.startsWith("tree:")) {
    const depth = parseNumber(spec.slice("tree:".length));
    if (depth === undefined) throw bad("expected 'tree:<depth>'");
    return { kind: "tree-depth", depth };
  } else if (spec.startsWith("sparse:oid=")) {
    return { kind: "sparse-oid", name: spec.slice("sparse:oid=".length) };
  } else if (spec.startsWith("sparse:path=")) {
    throw bad("sparse:path filters support has been dropped");
  } else if (spec.startsWith("object:type=")) {
    const type = spec.slice("object:type=".length);
    if (!TYPES.includes(type))
      throw bad(`'${shown(type)}' for 'object:type=<type>' is not a valid object type`);
    return { kind: "object-type", type: type as ObjectType };
  } else if (spec.startsWith("combine:")) {
    return parseCombine(spec.slice("combine:".length), nesting);
  }
  throw bad(`invalid filter-spec '${shown(spec)}'`);
}

function parseCombine(spec: string, nesting: Nesting): ObjectFilter {
  if (nesting.depthLeft <= 0) {
    throw new GitwharfError(
      "base/limit-exceeded",
      `a filter is nested more than ${nesting.depthMax} levels deep, the server's limit (filterDepthMax)`,
    );
  }
  if (spec === "") throw bad("expected something after combine:");
  const filters: ObjectFilter[] = [];
  for (const part of spec.split("+")) {
    if (part === "") continue;
    for (const c of part) {
      if (c <= " " || RESERVED.includes(c)) throw bad(`must escape char in sub-filter-spec: '${shown(c)}'`);
    }
    filters.push(parse(decode(part), { ...nesting, depthLeft: nesting.depthLeft - 1 }));
  }
  return { kind: "combine", filters };
}

/** git's numbers: decimal, `0x` or leading-zero octal, with k, m or g for powers of 1024. */
function parseNumber(text: string): number | undefined {
  const match = /^(0[xX][0-9a-fA-F]+|[0-9]+)([kKmMgG]?)$/.exec(text);
  if (match === null) return undefined;
  const digits = match[1] as string;
  let value: number;
  if (/^0[xX]/.test(digits)) value = Number.parseInt(digits, 16);
  else if (digits.length > 1 && digits.startsWith("0")) {
    if (/[89]/.test(digits)) return undefined;
    value = Number.parseInt(digits, 8);
  } else value = Number.parseInt(digits, 10);
  value *= { k: 1024, m: 1024 ** 2, g: 1024 ** 3 }[(match[2] as string).toLowerCase()] ?? 1;
  return value <= Number.MAX_SAFE_INTEGER ? value : undefined;
}

/** Percent-decoding of bytes; a `%` that is not followed by two digits stands for itself, as in git. */
function decode(text: string): string {
  const bytes: number[] = [];
  const raw = Buffer.from(text, "utf8");
  for (let i = 0; i < raw.length; i++) {
    const hex = raw[i] === 0x25 ? raw.toString("latin1", i + 1, i + 3) : "";
    if (/^[0-9a-fA-F]{2}$/.test(hex) && hex !== "00") {
      bytes.push(Number.parseInt(hex, 16));
      i += 2;
    } else bytes.push(raw[i] as number);
  }
  return Buffer.from(bytes).toString("utf8");
}

function encode(text: string): string {
  let out = "";
  for (const byte of Buffer.from(text, "utf8")) {
    const c = String.fromCharCode(byte);
    const plain = byte > 0x20 && byte < 0x7f && c !== "%" && c !== "+" && !RESERVED.includes(c);
    out += plain ? c : `%${byte.toString(16).padStart(2, "0")}`;
  }
  return out;
}

/** The canonical text: numbers in full. `parseFilter(formatFilter(f))` is `f`. */
export function formatFilter(filter: ObjectFilter): string {
  switch (filter.kind) {
    case "blob-none":
      return "blob:none";
    case "blob-limit":
      return `blob:limit=${filter.limitBytes}`;
    case "tree-depth":
      return `tree:${filter.depth}`;
    case "object-type":
      return `object:type=${filter.type}`;
    case "sparse-oid":
      return `sparse:oid=${filter.name}`;
    case "combine":
      return `combine:${filter.filters.map((f) => encode(formatFilter(f))).join("+")}`;
  }
}

function shown(text: string): string {
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}

function bad(message: string): GitwharfError {
  return new GitwharfError("protocol/bad-request", message);
}
