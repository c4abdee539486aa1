/** One commit of many: the tree of the last, and what all of them said. */
import type { ObjectId } from "../../object/object-id.js";

export interface Squash {
  /** Parents first. */
  add(tree: ObjectId, message: string): void;
  /** undefined: of none. */
  end(): { readonly tree: ObjectId; readonly message: string } | undefined;
}

/** @param messageLengthMax the rest is left out */
export function createSquash(messageLengthMax: number): Squash {
  const messages = new Set<string>();
  let length = 0;
  let last: ObjectId | undefined;
  return {
    add(tree, message) {
      last = tree;
      const text = message.trim();
      length += text.length + 2;
      // A fix of a fix may say the same again.
      if (messages.size === 0 || length <= messageLengthMax) messages.add(text);
    },
    end: () => (last === undefined ? undefined : { tree: last, message: `${[...messages].join("\n\n")}\n` }),
  };
}
