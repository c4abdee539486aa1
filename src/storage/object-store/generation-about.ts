/**
 * What a generation remembers of the change that made it, as JSON in its row: for people and for programs that ask for the
 * history. Nothing is decided by it.
 *
 * Example: `{"who":"alice <alice@192.0.2.1>","refs":["refs/heads/main"]}`
 */
import type { RefTransaction } from "../contracts/ref-store.js";

export interface GenerationAbout {
  /** `name <address>`, as the one who moved the refs was called. */
  readonly who?: string;
  /** Refs that moved: the first hundred of them. */
  readonly refs?: readonly string[];
  /** How many moved besides. */
  readonly otherRefs?: number;
  /** Of a restored one: the generation that it is as. */
  readonly restored?: number;
}

const REFS_MAX = 100;
const CHARACTERS_MAX = 256;

export function formatAbout(about: GenerationAbout): string {
  return JSON.stringify(about);
}

/** @param names refs that move, of those that the transaction asks for */
export function aboutTransaction(
  { committer }: Pick<RefTransaction, "committer">,
  names: readonly string[],
): GenerationAbout {
  const who = committer === undefined ? undefined : `${committer.name} <${committer.email}>`;
  return {
    ...(who === undefined ? {} : { who: who.slice(0, CHARACTERS_MAX) }),
    refs: names.slice(0, REFS_MAX).map((name) => name.slice(0, CHARACTERS_MAX)),
    ...(names.length <= REFS_MAX ? {} : { otherRefs: names.length - REFS_MAX }),
  };
}

/** What was written by somebody else is left out. */
export function parseAbout(text: string | undefined): GenerationAbout {
  let value: unknown;
  try {
    value = JSON.parse(text ?? "{}");
  } catch {
    return {};
  }
  if (typeof value !== "object" || value === null) return {};
  const { who, refs, otherRefs, restored } = value as Record<string, unknown>;
  return {
    ...(typeof who === "string" ? { who } : {}),
    ...(Array.isArray(refs) && refs.every((ref) => typeof ref === "string") ? { refs } : {}),
    ...(typeof otherRefs === "number" ? { otherRefs } : {}),
    ...(typeof restored === "number" ? { restored } : {}),
  };
}
