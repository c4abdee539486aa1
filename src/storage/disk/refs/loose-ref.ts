/**
 * One ref in a file of its own. Specification: gitrepository-layout (refs), gitglossary (symref).
 *
 *     <id> LF            white space and what follows it is ignored
 *     ref: <name> LF
 */
import * as fs from "node:fs";
import { checkRefName } from "../../../object/ref-name.js";
import { hexLength, type ObjectFormat } from "../../../object/object-format.js";
import { isNullObjectId, isObjectId } from "../../../object/object-id.js";
import { BROKEN, directValue, type RefValue } from "../../refs/ref-state.js";
import { errorCode, ioError, isAbsent } from "../file-errors.js";

/** No ref is longer: names end at 4096 bytes. */
const SIZE_BYTES_MAX = 8192;

function parseLooseRef(name: string, text: string, format: ObjectFormat): RefValue {
  if (text.startsWith("ref:")) {
    const target = text.slice(4).trim();
    return checkRefName(target) === undefined && target.startsWith("refs/")
      ? { kind: "symbolic", target }
      : BROKEN;
  }
  const end = hexLength(format);
  const oid = text.slice(0, end);
  if (!isObjectId(oid, format) || isNullObjectId(oid)) return BROKEN;
  return text.length === end || /\s/.test(text.charAt(end)) ? directValue(name, oid) : BROKEN;
}

export function formatLooseRef(value: { readonly oid: string } | { readonly target: string }): string {
  return "oid" in value ? `${value.oid}\n` : `ref: ${value.target}\n`;
}

/**
 * Reads at once: such a file is one small read from the page cache, and a turn through the thread pool costs ten
 * times as much (and waits there behind every fsync).
 *
 * A symbolic link is a symbolic ref of old when its text is a ref name. Differs from git: any other link is broken,
 * not followed.
 * @returns "directory" when there is one of that name; undefined when there is nothing
 * @throws storage/io
 */
export function readLooseRef(
  path: string,
  name: string,
  format: ObjectFormat,
): RefValue | "directory" | undefined {
  let fd: number;
  try {
    fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK);
  } catch (error) {
    const code = errorCode(error);
    // What cannot be a file's name is no file.
    if (isAbsent(error) || code === "ENAMETOOLONG") return undefined;
    if (code === "ELOOP") return readLink(path);
    if (code === "EACCES" || code === "ENXIO") return BROKEN;
    throw ioError("opening", path, error);
  }
  try {
    const bytes = Buffer.allocUnsafe(256);
    const read = fs.readSync(fd, bytes);
    if (read < bytes.length) return parseLooseRef(name, bytes.toString("utf8", 0, read), format);
    if (fs.fstatSync(fd).size > SIZE_BYTES_MAX) return BROKEN;
    return parseLooseRef(name, fs.readFileSync(path, "utf8"), format);
  } catch (error) {
    if (errorCode(error) === "EISDIR") return "directory";
    if (isAbsent(error)) return undefined;
    throw ioError("reading", path, error);
  } finally {
    fs.closeSync(fd);
  }
}

function readLink(path: string): RefValue | undefined {
  try {
    const target = fs.readlinkSync(path);
    return target.startsWith("refs/") && checkRefName(target) === undefined
      ? { kind: "symbolic", target }
      : BROKEN;
  } catch (error) {
    return isAbsent(error) ? undefined : BROKEN;
  }
}
