/**
 * What a checkout would make of a blob, without any configuration: line ends (`text`, `eol`) and `$Id$` (`ident`).
 * `filter` and `working-tree-encoding` are not applied. Specification: gitattributes, "Checking-out and checking-in".
 */
import type { ObjectId } from "../../object/object-id.js";
import type { Attributes } from "./attributes.js";

const CR = 0x0d;
const LF = 0x0a;

export function convertContent(data: Buffer, attributes: Attributes, oid: ObjectId): Buffer {
  if (attributes.size === 0) return data;
  const identified = attributes.get("ident") === true ? expandIdent(data, oid) : data;
  const wants = wantsCrlf(attributes);
  return wants === "no" ? identified : withCrlf(identified, wants);
}

/** "auto": only where the content is text and has no CR yet. */
function wantsCrlf(attributes: Attributes): "no" | "yes" | "auto" {
  let text = attributes.get("text");
  if (text !== true && text !== false && text !== "input" && text !== "auto") text = attributes.get("crlf");
  if (text === false || attributes.get("eol") !== "crlf") return "no";
  return text === "auto" ? "auto" : "yes";
}

function withCrlf(data: Buffer, wants: "yes" | "auto"): Buffer {
  let lonely = 0;
  for (let at = data.indexOf(LF); at >= 0; at = data.indexOf(LF, at + 1)) {
    if (data[at - 1] !== CR) lonely++;
  }
  if (lonely === 0 || (wants === "auto" && (data.includes(CR) || isBinary(data)))) return data;
  const out = Buffer.allocUnsafe(data.length + lonely);
  let from = 0;
  let to = 0;
  for (let at = data.indexOf(LF); at >= 0; at = data.indexOf(LF, at + 1)) {
    if (data[at - 1] === CR) continue;
    to += data.copy(out, to, from, at);
    out[to++] = CR;
    from = at;
  }
  data.copy(out, to, from);
  return out;
}

/** NUL, or more than one byte in 128 that no text has. */
function isBinary(data: Buffer): boolean {
  let printable = 0;
  let other = 0;
  for (const byte of data) {
    if (byte === 0) return true;
    if (byte === LF || byte === CR) continue;
    const isText = byte >= 0x20 ? byte !== 0x7f : [0x08, 0x09, 0x0c, 0x1b].includes(byte);
    if (isText) printable++;
    else other++;
  }
  // The end-of-file sign of DOS.
  if (data.at(-1) === 0x1a) other--;
  return Math.floor(printable / 128) < other;
}

/** Longer files stay as they are. */
const IDENT_BYTES_MAX = 64 * 1024 * 1024;

/** `$Id$`, and what a checkout made of it before, become `$Id: BLOB $`; what another program wrote stays. */
function expandIdent(data: Buffer, oid: ObjectId): Buffer {
  if (data.length > IDENT_BYTES_MAX || !data.includes("$Id")) return data;
  const text = data.toString("latin1").replace(/\$Id(?:: ?([^$\n]*))?\$/g, (all, inner?: string) => {
    const space = inner?.indexOf(" ") ?? -1;
    const isForeign = inner !== undefined && space >= 0 && space < inner.length - 1;
    return isForeign ? all : `$Id: ${oid} $`;
  });
  return Buffer.from(text, "latin1");
}
