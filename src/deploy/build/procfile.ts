/** `type: command` lines. Specification: Heroku, "The Procfile". */
import { GitwharfError } from "../../base/errors.js";
import { isProcessType } from "../state/app-rules.js";

export type ProcessTypes = Readonly<Record<string, string>>;

const TYPES_MAX = 100;

/** Lines that are none are passed over, as everywhere else. @throws object/malformed */
export function parseProcfile(text: string): ProcessTypes {
  const types: [string, string][] = [];
  for (const line of text.split(/\r?\n/)) {
    // Nothing that goes back: a line may be as long as the file.
    const [, type = "", rest = ""] = /^([A-Za-z0-9_-]+):([^]*)$/.exec(line) ?? [];
    const command = rest.trim();
    if (type !== "" && command !== "") types.push([type, command]);
  }
  return checkProcessTypes(types, "Procfile");
}

/** @param where they were found, for messages @throws object/malformed */
export function checkProcessTypes(
  types: readonly (readonly [string, string])[],
  where: string,
): ProcessTypes {
  const wrong = (why: string): GitwharfError => new GitwharfError("object/malformed", `${where}: ${why}`);
  if (types.length > TYPES_MAX) throw wrong(`there are more than ${TYPES_MAX} process types`);
  const checked = new Map<string, string>();
  for (const [type, command] of types) {
    if (!isProcessType(type)) throw wrong(`'${type.slice(0, 80)}' is no name of a process type`);
    if (command.includes("\0")) throw wrong(`the command of ${type} has a NUL`);
    checked.set(type, command);
  }
  return Object.fromEntries(checked);
}
