/**
 * Which bits of an expanded message must be equal, or must differ, in any block that was made for a disturbance
 * vector: the *unavoidable bit conditions*. A block that breaks one cannot be half of such a collision, so the vector
 * need not be tried on it. Computed from the vector.
 *
 * A disturbance at (step i, bit b) sets bit b of the state's new word, with a sign that the attacker chooses. What it
 * stirs up in the following steps must be cancelled by differences of the message:
 *
 * ```text
 * STEP        BIT     SIGN OF THE MESSAGE'S DIFFERENCE
 * i           b       the disturbance's own
 * i+1         b+5     the opposite
 * i+2         b       \
 * i+3, i+4    b-2      } the opposite in the steps of the majority function (40-59), open in those of exclusive or
 * i+5         b-2     the opposite
 * ```
 *
 * The sign of a difference *is* the bit's value, so:
 * - a bit with one such contribution has the value which that says, in terms of the disturbance's sign;
 * - a bit with two has no difference, and these two contributions must be of opposite signs;
 * - bit 31 has no sign (2^31 = -2^31), and nothing follows from it;
 * - where bits next to each other have contributions and one of them comes from a boolean function, a carry could
 *   stand for two of them: nothing is concluded, which gives away a few of the paper's conditions.
 *
 * A disturbance below bit 31 could itself carry into the next bit and so turn a sign in the steps of majority. No
 * attack does that on purpose: each carry makes the attack several times as costly. The paper counts these conditions
 * as unavoidable too.
 *
 * Bits that hang on the same sign (or on signs bound to each other) form a group: in each, every bit tells all others.
 *
 * Specification: M. Stevens, D. Shumow, "Speeding up detection of SHA-1 collision attacks using unavoidable attack
 * conditions" (USENIX Security 2017). That the conditions here are no more than those of Git's filter was found by
 * comparison: docs/decisions/collision-detection.md.
 */
import { DISTURBANCE_VECTORS, type DisturbanceVector, disturbances } from "./disturbance-vectors.js";

/** The steps in which an attack has to follow its vector; outside of them it is free. */
const FIRST_STEP = 35;
const LAST_STEP = 64;
const isMajority = (step: number): boolean => step >= 40 && step < 60;

export interface MessageBit {
  readonly step: number;
  readonly bit: number;
  /** Against the first bit of its group. */
  readonly inverted: boolean;
}

/** Two bits of the expanded message, and the vectors which need them equal, or different. */
export interface Condition {
  readonly left: Omit<MessageBit, "inverted">;
  readonly right: Omit<MessageBit, "inverted">;
  readonly differ: boolean;
  /** A bit for each disturbance vector. */
  readonly vectors: number;
}

interface Contribution {
  readonly sign: string;
  readonly opposite: boolean;
  readonly fromFunction: boolean;
  /** The sign is left open. */
  readonly open: boolean;
}

/** Names that are equal or opposite to each other, in groups. */
class SignGroups {
  readonly #links = new Map<string, { readonly to: string; readonly opposite: boolean }>();

  root(name: string): { readonly name: string; readonly opposite: boolean } {
    let at = name;
    let opposite = false;
    for (let link = this.#links.get(at); link !== undefined; link = this.#links.get(at)) {
      at = link.to;
      opposite = opposite !== link.opposite;
    }
    return { name: at, opposite };
  }

  join(one: string, other: string, opposite: boolean): void {
    const a = this.root(one);
    const b = this.root(other);
    const turned = (a.opposite !== b.opposite) !== opposite;
    if (a.name !== b.name) this.#links.set(a.name, { to: b.name, opposite: turned });
    else if (turned) throw new Error(`contradicting signs of ${one} and ${other}`);
  }
}

function contributionsOf(vector: DisturbanceVector): Map<number, Contribution[]> {
  const at = disturbances(vector);
  const found = new Map<number, Contribution[]>();
  const add = (step: number, bit: number, contribution: Contribution): void => {
    const key = step * 32 + ((bit + 32) % 32);
    found.set(key, [...(found.get(key) ?? []), contribution]);
  };
  for (let i = FIRST_STEP - 5; i <= LAST_STEP; i++) {
    for (let b = 0; b < 32; b++) {
      if (((at(i) >>> b) & 1) === 0) continue;
      const sign = `disturbance ${i}.${b}`;
      const own = { sign, opposite: false, fromFunction: false, open: false };
      const opposite = { ...own, opposite: true };
      const fromFunction = (step: number): Contribution => ({
        ...opposite,
        fromFunction: true,
        open: !isMajority(step),
      });
      add(i, b, own);
      add(i + 1, b + 5, opposite);
      add(i + 2, b, fromFunction(i + 2));
      add(i + 3, b - 2, fromFunction(i + 3));
      add(i + 4, b - 2, fromFunction(i + 4));
      add(i + 5, b - 2, opposite);
    }
  }
  return found;
}

/** Whether the bit stands in a row of bits with contributions, and a boolean function takes part in the row. */
function mayCarry(contributions: ReadonlyMap<number, readonly Contribution[]>, key: number): boolean {
  const isIn = (other: number): boolean => other >> 5 === key >> 5 && contributions.has(other);
  let low = key;
  let high = key;
  while (isIn(low - 1)) low--;
  while (isIn(high + 1)) high++;
  if (low === high) return false;
  for (let k = low; k <= high; k++) if (contributions.get(k)?.some((one) => one.fromFunction)) return true;
  return false;
}

/** Groups of two or more bits, each sorted by step and bit. */
export function conditionGroups(vector: DisturbanceVector): MessageBit[][] {
  const contributions = contributionsOf(vector);
  const signs = new SignGroups();
  const bits: { step: number; bit: number; name: string }[] = [];
  for (const key of [...contributions.keys()].sort((a, b) => a - b)) {
    const step = key >> 5;
    const bit = key & 31;
    if (step < FIRST_STEP || step > LAST_STEP || bit === 31) continue;
    const [first, second, ...more] = contributions.get(key) ?? [];
    if (first === undefined || more.length > 0) continue;
    if (first.open || second?.open || mayCarry(contributions, key)) continue;
    if (second !== undefined) {
      signs.join(first.sign, second.sign, first.opposite === second.opposite);
      continue;
    }
    const name = `message ${step}.${bit}`;
    signs.join(name, first.sign, first.opposite);
    bits.push({ step, bit, name });
  }
  const groups = new Map<string, MessageBit[]>();
  const firstIsOpposite = new Map<string, boolean>();
  for (const { step, bit, name } of bits) {
    const root = signs.root(name);
    const group = groups.get(root.name) ?? [];
    if (group.length === 0) firstIsOpposite.set(root.name, root.opposite);
    group.push({ step, bit, inverted: root.opposite !== firstIsOpposite.get(root.name) });
    groups.set(root.name, group);
  }
  return [...groups.values()].filter((group) => group.length > 1);
}

/**
 * The conditions of all vectors, each pair of bits once. A group of n bits needs n - 1 pairs; those are taken first
 * that most vectors share, so that few are left to compute.
 */
export function conditions(): Condition[] {
  const pairsOf = DISTURBANCE_VECTORS.map((vector) => conditionGroups(vector).map(pairsIn));
  const shares = new Map<string, number>();
  for (const { key } of pairsOf.flat(2)) shares.set(key, (shares.get(key) ?? 0) + 1);
  const chosen = new Map<string, Condition>();
  for (const [v, groups] of pairsOf.entries()) {
    for (const pairs of groups) {
      const joined = new SignGroups();
      const byShares = [...pairs].sort(
        (a, b) => (shares.get(b.key) ?? 0) - (shares.get(a.key) ?? 0) || (a.key < b.key ? -1 : 1),
      );
      for (const { key, left, right, differ } of byShares) {
        const [one, other] = [`${left.step}.${left.bit}`, `${right.step}.${right.bit}`];
        if (joined.root(one).name === joined.root(other).name) continue;
        joined.join(one, other, differ);
        const vectors = ((chosen.get(key)?.vectors ?? 0) | (1 << v)) >>> 0;
        chosen.set(key, { left, right, differ, vectors });
      }
    }
  }
  return [...chosen.values()].sort(
    (a, b) => a.right.step - b.right.step || a.left.step - b.left.step || a.left.bit - b.left.bit,
  );
}

type Pair = Omit<Condition, "vectors"> & { readonly key: string };

function pairsIn(group: readonly MessageBit[]): Pair[] {
  return group.flatMap((left, i) =>
    group.slice(i + 1).map((right) => {
      const differ = left.inverted !== right.inverted;
      const key = `${left.step}.${left.bit} ${differ ? "≠" : "="} ${right.step}.${right.bit}`;
      return { left, right, differ, key };
    }),
  );
}
