/**
 * What stacks of tables say together, kept so that a change costs little: the state after each table is remembered,
 * and what changed in a stack is mostly its top.
 */
import { checkRefName } from "../../../../object/ref-name.js";
import {
  BROKEN,
  changeRefState,
  type RefState,
  type RefValue,
  sameRefState,
} from "../../../refs/ref-state.js";
import type { ReftableFile } from "./reftable-file.js";
import type { ReftableStack } from "./reftable-stack.js";
import { showText } from "./table-text.js";

export interface StackPart {
  readonly stack: ReftableStack;
  /** Whether refs of that name are kept in this stack. */
  owns(name: string): boolean;
}

interface Layer {
  readonly table: ReftableFile;
  readonly state: RefState;
}

const EMPTY: RefState = { head: BROKEN, direct: [], symbolic: new Map(), broken: new Set() };
/** Nearly all names are of this form, which needs no further look unless `.lock` is in it. */
const NAME_CHARACTERS_MAX = 4096;
const PLAIN_NAME = /^refs(?:\/[\w+=@-]+(?:\.[\w+=@-]+)*)+$/;

export class StackState {
  readonly #parts: readonly StackPart[];
  #layers: readonly Layer[] = [];
  #state = EMPTY;

  constructor(parts: readonly StackPart[]) {
    this.#parts = parts;
  }

  /** The same object as long as the refs are the same, however the tables change. @throws storage/io, storage/bad-ref */
  look(): RefState {
    for (const { stack } of this.#parts) stack.refresh();
    const layers: Layer[] = [];
    let isKnown = true;
    let state = EMPTY;
    for (const part of this.#parts) {
      for (const table of part.stack.tables) {
        const known = this.#layers[layers.length];
        isKnown &&= known?.table === table;
        state = isKnown && known !== undefined ? known.state : changeRefState(state, changesOf(table, part));
        layers.push({ table, state });
      }
    }
    this.#layers = layers;
    if (!sameRefState(this.#state, state)) this.#state = state;
    return this.#state;
  }
}

function changesOf({ refs }: ReftableFile, { owns }: StackPart): ReadonlyMap<string, RefValue | undefined> {
  const changes = new Map<string, RefValue | undefined>();
  for (const { name: text, value } of refs) {
    const name = showText(text);
    // Besides HEAD there may be refs of git's own, ORIG_HEAD and the like.
    if ((name !== "HEAD" && !name.startsWith("refs/")) || !owns(name)) continue;
    changes.set(name, name === "HEAD" || isRefName(name) ? checkTarget(value) : value && BROKEN);
  }
  return changes;
}

function isRefName(name: string): boolean {
  return (
    (PLAIN_NAME.test(name) && !name.includes(".lock") && name.length <= NAME_CHARACTERS_MAX) ||
    checkRefName(name) === undefined
  );
}

function checkTarget(value: RefValue | undefined): RefValue | undefined {
  if (value?.kind !== "symbolic") return value;
  return value.target.startsWith("refs/") && checkRefName(showText(value.target)) === undefined
    ? value
    : BROKEN;
}
