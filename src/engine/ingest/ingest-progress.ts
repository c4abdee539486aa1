/** What git's index-pack says on the pusher's terminal. */

/** A line that the next one overwrites. */
export function resolvingText(resolved: number, total: number): string {
  const percent = Math.floor((resolved * 100) / total);
  return `Resolving deltas: ${String(percent).padStart(3)}% (${resolved}/${total})\r`;
}

/** @param added bases taken from the repository */
export function resolvedText(total: number, added: number): string {
  const end = added === 0 ? "done" : `completed with ${added} local object${added === 1 ? "" : "s"}`;
  return `Resolving deltas: 100% (${total}/${total}), ${end}.\n`;
}

export function unpackedText(objects: number): string {
  return `Unpacking objects: 100% (${objects}/${objects}), done.\n`;
}
