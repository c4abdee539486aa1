/**
 * The conversation with a proc-receive hook. Specification: githooks "proc-receive".
 *
 *     to the hook    version=1 NUL push-options atomic, flush; <old> <new> <ref> …, flush; options …, flush
 *     from the hook  version=1 NUL push-options, flush; ok <ref> | ng <ref> <why> | option …, flush
 */
import type { ProcReceiveResult, PushCommand } from "../engine/push.js";
import { isObjectId } from "../object/object-id.js";
import type { ObjectFormat } from "../object/object-format.js";

function line(text: string): string {
  return (Buffer.byteLength(text) + 4).toString(16).padStart(4, "0") + text;
}

/** Everything that is said to the hook; its answer may be read when it has ended. */
export function formatProcReceiveInput(commands: readonly PushCommand[], options: readonly string[]): string {
  return [
    line(`version=1\0push-options\n`),
    "0000",
    ...commands.map((command) => line(`${command.oldOid} ${command.newOid} ${command.name}\n`)),
    "0000",
    ...options.map((option) => line(`${option}\n`)),
    "0000",
  ].join("");
}

/** undefined when the hook did not keep to the protocol. */
export function parseProcReceiveOutput(
  bytes: Buffer,
  format: ObjectFormat,
): readonly ProcReceiveResult[] | undefined {
  const sections: string[][] = [[]];
  for (let at = 0; at < bytes.length; ) {
    const length = /^[0-9a-fA-F]{4}$/.test(bytes.toString("latin1", at, at + 4))
      ? Number.parseInt(bytes.toString("latin1", at, at + 4), 16)
      : -1;
    if (length === 0) {
      sections.push([]);
      at += 4;
    } else if (length >= 4 && at + length <= bytes.length) {
      sections.at(-1)?.push(bytes.toString("utf8", at + 4, at + length).replace(/\n$/, ""));
      at += length;
    } else return undefined;
  }
  const [greeting = [], answers = []] = sections;
  if (greeting[0]?.split("\0")[0] !== "version=1") return undefined;
  const results: ProcReceiveResult[] = [];
  for (const text of answers) {
    const [word = "", second = "", ...rest] = text.split(" ");
    const last = results.pop();
    if (word === "ok" || word === "ng") {
      if (last !== undefined) results.push(last);
      results.push(word === "ok" ? { name: second } : { name: second, refusal: rest.join(" ") || "failed" });
      continue;
    }
    if (word !== "option" || last === undefined) return undefined;
    const value = rest.join(" ");
    if (second === "refname") results.push({ ...last, refName: value });
    else if (second === "old-oid" && isObjectId(value, format)) results.push({ ...last, oldOid: value });
    else if (second === "new-oid" && isObjectId(value, format)) results.push({ ...last, newOid: value });
    else if (second === "forced-update") results.push({ ...last, forcedUpdate: true });
    else if (second === "fall-through") results.push({ ...last, fallThrough: true });
    else return undefined;
  }
  return results;
}
