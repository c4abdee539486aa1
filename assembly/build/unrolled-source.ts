/**
 * Writes the part of the WebAssembly module that has a line for each round, word or condition: AssemblyScript text,
 * `assembly/unrolled.ts` to the compiler, which never lies on the disk.
 *
 * `expand(block)`: the message expansion of four blocks, a block in each lane of a vector register.
 * `applyConditions(forced)`: the disturbance vectors whose conditions each of the four blocks meets.
 * `compress(lane)`: the 80 rounds of one block, keeping the states before steps 58 and 65.
 * `collides(lane, vector)`: recomputes the block with the vector's differences, from there forward and backward.
 */
import {
  DISTURBANCE_VECTORS,
  messageDifferences,
  RESUME_STEPS,
  resumeStep,
  STEPS,
} from "./disturbance-vectors.js";
import { type Condition, conditions } from "./unavoidable-conditions.js";

const ROUND_CONSTANTS = [0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6] as const;
const roundConstant = (step: number): string =>
  `0x${(ROUND_CONSTANTS[Math.floor(step / 20)] ?? 0).toString(16)}`;

export function unrolledSource(): string {
  const all = conditions();
  return [
    'import { ALIVE, AT_58, AT_65, KEYED, SCHEDULE, STATE } from "./memory-layout";',
    differencesData(),
    `const MASKS = memory.data<u32>([${all.flatMap(({ vectors }) => Array(4).fill(vectors)).join(",")}], 16);`,
    expandFunction(),
    conditionsFunction(all),
    compressFunction(),
    ...RESUME_STEPS.map(recomputeFunction),
    collidesFunction(),
  ].join("\n");
}

function differencesData(): string {
  const words = DISTURBANCE_VECTORS.flatMap((vector) => [...messageDifferences(vector)]);
  return `const DIFFERENCES = memory.data<u32>([${words.join(",")}], 16);`;
}

function expandFunction(): string {
  const swapped = [3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12].join();
  const lines: string[] = [];
  const emit = (step: number): void => {
    lines.push(
      `v128.store(SCHEDULE, w${step % 16}, ${16 * step});`,
      `v128.store(KEYED, i32x4.add(w${step % 16}, k${Math.floor(step / 20)}), ${16 * step});`,
    );
  };
  for (const [i, constant] of ROUND_CONSTANTS.entries())
    lines.push(`const k${i} = i32x4.splat(${constant});`);
  for (let quad = 0; quad < 4; quad++) {
    for (let lane = 0; lane < 4; lane++) {
      const loaded = `v128.load(block, ${64 * lane + 16 * quad})`;
      lines.push(`const r${quad}${lane} = v128.shuffle<i8>(${loaded}, i32x4.splat(0), ${swapped});`);
    }
    const row = (lane: number): string => `r${quad}${lane}`;
    for (const [name, low, a, b] of [
      ["a", true, 0, 1],
      ["b", false, 0, 1],
      ["c", true, 2, 3],
      ["d", false, 2, 3],
    ] as const) {
      lines.push(
        `const ${name}${quad} = v128.shuffle<i32>(${row(a)}, ${row(b)}, ${low ? "0, 4, 1, 5" : "2, 6, 3, 7"});`,
      );
    }
    for (const [word, one, other, half] of [
      [0, "a", "c", "0, 2"],
      [1, "a", "c", "1, 3"],
      [2, "b", "d", "0, 2"],
      [3, "b", "d", "1, 3"],
    ] as const) {
      lines.push(`let w${4 * quad + word} = v128.shuffle<i64>(${one}${quad}, ${other}${quad}, ${half});`);
      emit(4 * quad + word);
    }
  }
  for (let t = 16; t < STEPS; t++) {
    const w = (back: number): string => `w${(t - back) % 16}`;
    lines.push(
      `w${t % 16} = v128.xor(v128.xor(${w(3)}, ${w(8)}), v128.xor(${w(14)}, ${w(16)}));`,
      `w${t % 16} = v128.or(i32x4.shl(w${t % 16}, 1), i32x4.shr_u(w${t % 16}, 31));`,
    );
    emit(t);
  }
  return `export function expand(block: usize): void {\n${lines.join("\n")}\n}`;
}

/** A broken condition is a lane of ones: it takes the vectors that need it out of the lane's mask. */
function conditionsFunction(all: readonly Condition[]): string {
  const lines = ["let broken = i32x4.splat(0);"];
  const loaded = new Set<string>();
  const word = (step: number): string => {
    const name = `w${step}`;
    if (!loaded.has(name)) lines.push(`const ${name} = v128.load(SCHEDULE, ${16 * step});`);
    loaded.add(name);
    return name;
  };
  /** The bit in the place of the sign. */
  const atTop = ({ step, bit }: Condition["left"]): string => {
    const name = `w${step}_${bit}`;
    if (!loaded.has(name)) lines.push(`const ${name} = i32x4.shl(${word(step)}, ${31 - bit});`);
    loaded.add(name);
    return name;
  };
  for (const [i, { left, right, differ }] of all.entries()) {
    const differs =
      left.bit === right.bit
        ? `i32x4.shl(v128.xor(${word(left.step)}, ${word(right.step)}), ${31 - left.bit})`
        : `v128.xor(${atTop(left)}, ${atTop(right)})`;
    const mask = `v128.load(MASKS, ${16 * i})`;
    const taken = `i32x4.shr_s(${differs}, 31)`;
    lines.push(
      `broken = v128.or(broken, ${differ ? `v128.andnot(${mask}, ${taken})` : `v128.and(${mask}, ${taken})`});`,
    );
  }
  lines.push("v128.store(ALIVE, v128.or(v128.not(broken), i32x4.splat(forced)));");
  return `export function applyConditions(forced: u32): void {\n${lines.join("\n")}\n}`;
}

type Names = readonly [string, string, string, string, string];

/** The five words' variables before a step: they change places instead of values. */
function namesBefore(step: number): Names {
  const names = ["a", "b", "c", "d", "e"] as const;
  const name = (i: number): string => names[(i + 4 * step) % 5] ?? "";
  return [name(0), name(1), name(2), name(3), name(4)];
}

function roundFunction(step: number, b: string, c: string, d: string): string {
  if (step < 20) return `(${d} ^ (${b} & (${c} ^ ${d})))`;
  if (step >= 40 && step < 60) return `((${b} & ${c}) + (${d} & (${b} ^ ${c})))`;
  return `(${b} ^ ${c} ^ ${d})`;
}

function roundLines(step: number, keyedWord: string): string[] {
  const [a, b, c, d, e] = namesBefore(step);
  return [
    `${e} = ${e} + ${keyedWord} + ${roundFunction(step, b, c, d)} + rotl<u32>(${a}, 5);`,
    `${b} = rotl<u32>(${b}, 30);`,
  ];
}

function loadWords(from: string, names: readonly string[]): string {
  return names.map((name, i) => `let ${name} = load<u32>(${from}, ${4 * i});`).join("\n");
}

function compressFunction(): string {
  const lines = [loadWords("STATE", namesBefore(0))];
  for (let t = 0; t < STEPS; t++) {
    for (const kept of RESUME_STEPS)
      if (t === kept)
        lines.push(...namesBefore(t).map((name, i) => `store<u32>(AT_${kept}, ${name}, ${4 * i});`));
    lines.push(...roundLines(t, `load<u32>(KEYED + lane, ${16 * t})`));
  }
  for (const [i, name] of namesBefore(STEPS).entries())
    lines.push(`store<u32>(STATE, load<u32>(STATE, ${4 * i}) + ${name}, ${4 * i});`);
  return `export function compress(lane: usize): void {\n${lines.join("\n")}\n}`;
}

function recomputeFunction(resume: number): string {
  const word = (step: number): string =>
    `((load<u32>(SCHEDULE + lane, ${16 * step}) ^ load<u32>(differences, ${4 * step})) + ${roundConstant(step)})`;
  const names = namesBefore(resume);
  const load = names.map((name, i) => `${name} = load<u32>(AT_${resume}, ${4 * i});`).join("\n");
  const lines = ["let a: u32, b: u32, c: u32, d: u32, e: u32;", load];
  for (let t = resume; t < STEPS; t++) lines.push(...roundLines(t, word(t)));
  for (const [i, name] of namesBefore(STEPS).entries()) lines.push(`const after${i} = ${name};`);
  lines.push(load);
  for (let t = resume - 1; t >= 0; t--) {
    const [a, b, c, d, e] = namesBefore(t);
    lines.push(
      `${b} = rotl<u32>(${b}, 2);`,
      `${e} = ${e} - ${word(t)} - ${roundFunction(t, b, c, d)} - rotl<u32>(${a}, 5);`,
    );
  }
  const same = namesBefore(0).map((name, i) => `(load<u32>(STATE, ${4 * i}) ^ (${name} + after${i}))`);
  lines.push(`return (${same.join(" | ")}) == 0;`);
  return `function recompute${resume}(lane: usize, differences: usize): bool {\n${lines.join("\n")}\n}`;
}

function collidesFunction(): string {
  const late = DISTURBANCE_VECTORS.reduce(
    (mask, vector, v) => (resumeStep(vector) === RESUME_STEPS[1] ? (mask | (1 << v)) >>> 0 : mask),
    0,
  );
  return [
    "export function collides(lane: usize, vector: u32): bool {",
    `  const differences = DIFFERENCES + <usize>vector * ${4 * STEPS};`,
    `  if ((<u32>${late} >>> vector) & 1) return recompute65(lane, differences);`,
    "  return recompute58(lane, differences);",
    "}",
  ].join("\n");
}
