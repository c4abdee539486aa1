/**
 * Bundles: refs and a pack in one file, as `git bundle create` writes it.
 * Specification: gitformat-bundle.
 *
 *     # v2 git bundle LF                or v3
 *     @<capability> LF                  v3 alone: object-format=…, filter=…
 *     -<id> SP <comment> LF             commits that the reader has to have
 *     <id> SP <name> LF                 refs
 *     LF
 *     pack
 */
import { createReadStream } from "node:fs";
import type { ByteSource } from "../base/byte-streams.js";
import { GitwharfError } from "../base/errors.js";
import { isObjectFormat, type ObjectFormat } from "../object/object-format.js";
import { isObjectId, type ObjectId } from "../object/object-id.js";

export interface BundleHeader {
  readonly objectFormat: ObjectFormat;
  /** In the order of the file. */
  readonly refs: readonly { readonly name: string; readonly oid: ObjectId }[];
  readonly prerequisites: readonly ObjectId[];
  /** A partial bundle's. */
  readonly filter?: string;
}

export interface Bundle extends BundleHeader {
  /** To be read once, or left. */
  readonly pack: ByteSource;
  close(): Promise<void>;
}

const HEADER_BYTES_MAX = 64 * 1024 * 1024;
const END = "\n\n";
const READ_BYTES = 1024 * 1024;

/** @throws protocol/bad-request when it is none, protocol/unsupported, base/limit-exceeded, storage/io */
export async function openBundle(path: string): Promise<Bundle> {
  const file = createReadStream(path, { highWaterMark: READ_BYTES });
  const chunks = file[Symbol.asyncIterator]() as AsyncIterator<Buffer, undefined>;
  const close = async (): Promise<void> => {
    await chunks.return?.();
  };
  try {
    let head = Buffer.alloc(0);
    let end = -1;
    while (end < 0) {
      const { value, done = false } = await chunks.next();
      if (done || value === undefined) throw bad(path, "it ends before its pack begins");
      const from = Math.max(0, head.length - END.length + 1);
      head = Buffer.concat([head, value]);
      if (!head.subarray(0, 2).equals(Buffer.from("# "))) throw bad(path, "it does not begin like one");
      end = head.indexOf(END, from, "latin1");
      if (end < 0 && head.length > HEADER_BYTES_MAX)
        throw new GitwharfError("base/limit-exceeded", `the bundle ${path} has too long a list of refs`);
    }
    const header = parseBundleHeader(head.toString("utf8", 0, end + 1), path);
    return { ...header, pack: rest(head.subarray(end + END.length), chunks), close };
  } catch (cause) {
    await close();
    if (cause instanceof GitwharfError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new GitwharfError("storage/io", `reading the bundle ${path} failed: ${why}`, { cause });
  }
}

async function* rest(
  first: Buffer,
  chunks: AsyncIterator<Buffer, undefined>,
): AsyncGenerator<Buffer, void, void> {
  if (first.length > 0) yield first;
  for (;;) {
    const { value, done = false } = await chunks.next();
    if (done || value === undefined) return;
    yield value;
  }
}

/** @param text every line with its end. @param path for messages. @throws protocol/bad-request, protocol/unsupported */
export function parseBundleHeader(text: string, path: string): BundleHeader {
  const [first = "", ...lines] = text.split("\n").slice(0, -1);
  const version = /^# v(\d+) git bundle$/.exec(first)?.[1];
  if (version === undefined) throw bad(path, "it does not begin like one");
  if (version !== "2" && version !== "3")
    throw new GitwharfError(
      "protocol/unsupported",
      `${path} is a bundle of version ${version}: 2 and 3 are known`,
    );
  let objectFormat: ObjectFormat = "sha1";
  let filter: string | undefined;
  const refs: { name: string; oid: ObjectId }[] = [];
  const prerequisites: ObjectId[] = [];
  const id = (oid: string): ObjectId => {
    if (!isObjectId(oid, objectFormat)) throw bad(path, `'${oid.slice(0, 80)}' is no object id`);
    return oid;
  };
  for (const line of lines) {
    if (line.startsWith("@")) {
      const [, name = "", value = ""] = /^@([^=]*)(?:=(.*))?$/.exec(line) ?? [];
      if (version !== "3" || refs.length > 0 || prerequisites.length > 0)
        throw bad(path, `'${line.slice(0, 80)}' does not belong where it stands`);
      if (name === "filter") filter = value;
      else if (name === "object-format" && isObjectFormat(value)) objectFormat = value;
      else
        throw new GitwharfError(
          "protocol/unsupported",
          `the bundle ${path} asks for '${line.slice(1, 80)}', which is not known here`,
        );
      continue;
    }
    const isPrerequisite = line.startsWith("-");
    const [, oid = "", name = ""] = /^-?(\S+)(?: (.*))?$/.exec(line) ?? [];
    if (isPrerequisite) prerequisites.push(id(oid));
    else if (name === "") throw bad(path, `'${line.slice(0, 80)}' names no ref`);
    else refs.push({ name, oid: id(oid) });
  }
  return { objectFormat, refs, prerequisites, ...(filter === undefined ? {} : { filter }) };
}

function bad(path: string, why: string): GitwharfError {
  return new GitwharfError("protocol/bad-request", `${path} is no bundle: ${why}`);
}
