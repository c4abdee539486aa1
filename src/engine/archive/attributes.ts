/**
 * What `.gitattributes` in a tree say about a path: files nearer to the path first, in each the last line first.
 * Specification: gitattributes. Attributes from outside the tree (`info/attributes`, the machine's) do not count here.
 */
import type { WorkBudget } from "../fetch/work-budget.js";
import type { AttributeFile, AttributeStates, AttributeValue } from "./attribute-rules.js";

/** Those that an archive asks about; `binary` is a macro for two of them. */
export const WANTED_ATTRIBUTES: ReadonlySet<string> = new Set([
  "export-ignore",
  "export-subst",
  "text",
  "crlf",
  "eol",
  "ident",
  "diff",
  "binary",
]);

const BUILT_IN_MACROS: ReadonlyMap<string, AttributeStates> = new Map([
  [
    "binary",
    [
      ["diff", false],
      ["text", false],
    ],
  ],
]);

export interface AttributeLevel {
  readonly file: AttributeFile;
  /** Characters of the directory in front of the paths of its patterns, its slash included. */
  readonly directoryLength: number;
}

export type Attributes = ReadonlyMap<string, AttributeValue>;

const NONE: Attributes = new Map();
const STEPS_PER_UNIT = 2000;
const UNITS_PER_RULE = 0.03;

/** @param levels outermost first: those of the directories that lead to the path */
export async function attributesOf(
  levels: readonly AttributeLevel[],
  path: string,
  about: { readonly isDirectory: boolean; readonly budget: WorkBudget },
): Promise<Attributes> {
  const { isDirectory, budget } = about;
  if (levels.length === 0) return NONE;
  const found = new Map<string, AttributeValue>();
  const macros = macrosOf(levels);
  const name = path.slice(path.lastIndexOf("/") + 1);
  const take = (states: AttributeStates): void => {
    for (let i = states.length - 1; i >= 0; i--) {
      const [attribute, value] = states[i] as AttributeStates[number];
      if (found.has(attribute)) continue;
      found.set(attribute, value);
      const macro = value === true ? macros.get(attribute) : undefined;
      if (macro !== undefined) take(macro);
    }
  };
  for (let i = levels.length - 1; i >= 0; i--) {
    const { file, directoryLength } = levels[i] as AttributeLevel;
    const fromHere = path.slice(directoryLength);
    for (let j = file.rules.length - 1; j >= 0; j--) {
      const rule = file.rules[j] as AttributeFile["rules"][number];
      if (rule.onlyDirectories && !isDirectory) continue;
      const text = rule.forName ? name : fromHere;
      // A pattern may be long, and so may a path.
      if (budget.spend((rule.patternLength * text.length) / STEPS_PER_UNIT + UNITS_PER_RULE))
        await budget.pause();
      if (rule.pattern.matches(text)) take(rule.states);
    }
  }
  return found;
}

/** Only the outermost file may define macros. */
function macrosOf([outermost]: readonly AttributeLevel[]): ReadonlyMap<string, AttributeStates> {
  if (outermost === undefined || outermost.directoryLength > 0 || outermost.file.macros.size === 0)
    return BUILT_IN_MACROS;
  return new Map([...BUILT_IN_MACROS, ...outermost.file.macros]);
}
