/**
 * The 32 disturbance vectors that every published collision attack on SHA-1 builds on or could best build on, and
 * what follows from them: nothing here is a list of constants, all is computed from (type, K, b).
 *
 * A disturbance vector says in which steps of SHA-1 a *local collision* starts, and at which bits: sixteen words at
 * K..K+15, all zero but the ones below, continued in both directions by SHA-1's own message expansion, which is linear
 * in the differences.
 *
 * ```text
 * TYPE   WORD             VALUE
 * I      K+15             bit b
 * II     K+1, K+3         bit b-1 (31 where b is 0)
 *        K+15             bit b
 * ```
 *
 * Specification: S. Manuel, "Classification and generation of disturbance vectors for collision attacks against
 * SHA-1"; M. Stevens, "Counter-cryptanalysis" (CRYPTO 2013).
 */
export interface DisturbanceVector {
  readonly type: 1 | 2;
  readonly k: number;
  readonly b: number;
}

const family = (type: 1 | 2, b: number, ks: readonly number[]): DisturbanceVector[] =>
  ks.map((k) => ({ type, k, b }));

/** The place in this list is the bit in every mask. */
export const DISTURBANCE_VECTORS: readonly DisturbanceVector[] = [
  ...family(1, 0, [43, 44, 45, 46, 47, 48, 49, 50, 51, 52]),
  ...family(1, 2, [46, 47, 48, 49, 50, 51]),
  ...family(2, 0, [45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56]),
  ...family(2, 2, [46, 49, 50, 51]),
];

export const STEPS = 80;
/** A local collision lasts six steps: what started this many steps before step 0 still shows in it. */
const STEPS_BEFORE = 5;
/** The steps between which the states of a block are kept to recompute it from there. */
export const RESUME_STEPS = [58, 65] as const;

export function rotateLeft(word: number, by: number): number {
  const bits = ((by % 32) + 32) % 32;
  return bits === 0 ? word >>> 0 : ((word << bits) | (word >>> (32 - bits))) >>> 0;
}

/** The word of a step, from step -5 to 79. */
export type Disturbances = (step: number) => number;

export function disturbances({ type, k, b }: DisturbanceVector): Disturbances {
  const words = new Uint32Array(STEPS_BEFORE + STEPS);
  const at = (step: number): number => words[step + STEPS_BEFORE] ?? 0;
  const put = (step: number, word: number): void => {
    words[step + STEPS_BEFORE] = word;
  };
  put(k + 15, rotateLeft(1, b));
  if (type === 2) {
    put(k + 1, rotateLeft(1, b - 1));
    put(k + 3, rotateLeft(1, b - 1));
  }
  for (let t = k + 16; t < STEPS; t++) put(t, rotateLeft(at(t - 3) ^ at(t - 8) ^ at(t - 14) ^ at(t - 16), 1));
  for (let t = k - 1; t >= -STEPS_BEFORE; t--)
    put(t, rotateLeft(at(t + 16), -1) ^ at(t + 13) ^ at(t + 8) ^ at(t + 2));
  return at;
}

/**
 * The difference (exclusive or) that each of the 80 expanded message words has between the two blocks of a collision:
 * a disturbance and its five corrections.
 */
export function messageDifferences(vector: DisturbanceVector): Uint32Array {
  const at = disturbances(vector);
  return Uint32Array.from(
    { length: STEPS },
    (_, t) =>
      at(t) ^
      rotateLeft(at(t - 1), 5) ^
      at(t - 2) ^
      rotateLeft(at(t - 3), 30) ^
      rotateLeft(at(t - 4), 30) ^
      rotateLeft(at(t - 5), 30),
  );
}

/** Before which step the two blocks of a collision have equal states: no local collision is under way there. */
export function resumeStep(vector: DisturbanceVector): 58 | 65 {
  const at = disturbances(vector);
  const quiet = RESUME_STEPS.find((t) => [1, 2, 3, 4, 5].every((back) => at(t - back) === 0));
  if (quiet === undefined) throw new Error("a disturbance vector with no quiet step at 58 or 65");
  return quiet;
}
