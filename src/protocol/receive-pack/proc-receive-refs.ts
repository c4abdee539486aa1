/** Which commands go to proc-receive. Specification: git-config `receive.procReceiveRefs`. */
import type { PushCommand } from "../../engine/push.js";
import { isNullObjectId } from "../../object/object-id.js";

/**
 * @param patterns `[modifiers:]prefix`; modifiers `a` creations, `m` changes, `d` deletions (none: all), `!` everything
 *   but the prefix
 */
export function matchesProcReceive(patterns: readonly string[], command: PushCommand): boolean {
  const kind = isNullObjectId(command.oldOid) ? "a" : isNullObjectId(command.newOid) ? "d" : "m";
  return patterns.some((pattern) => {
    const colon = pattern.indexOf(":");
    const modifiers = colon < 0 ? "" : pattern.slice(0, colon);
    const prefix = pattern.slice(colon + 1).replace(/\/+$/, "");
    const kinds = modifiers.replaceAll("!", "");
    if (kinds !== "" && !kinds.includes(kind)) return false;
    const inside = command.name === prefix || command.name.startsWith(`${prefix}/`);
    return modifiers.includes("!") ? !inside : inside;
  });
}
