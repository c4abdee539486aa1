// SHA-1 that looks at each block for signs of a collision attack: the entry of the WebAssembly module.
// AssemblyScript, compiled by `build/build.ts`; the host's side is `src/object/collision-detection.ts`.
//
// Four blocks are taken at a time: their message expansion and the unavoidable bit conditions do not depend on the
// chaining value, so both run in four lanes. Then each block goes through the 80 rounds, and the few blocks that meet
// all conditions of a disturbance vector are recomputed with the vector's differences. If that other block leads to
// the same chaining value, the two are the last blocks of a collision: nobody gets there by chance.
import { ALIVE, BLOCK, DIGEST, GROUP, INPUT, STATE } from "./memory-layout";
import { applyConditions, collides, compress, expand } from "./unrolled";

/** Vectors that are tried on every block, whatever the conditions say. For tests. */
export let forced: u32 = 0;

/** Where the static data ends. */
export function staticEnd(): usize {
  return __heap_base;
}

export function begin(): void {
  store<u32>(STATE, 0x67452301);
  store<u32>(STATE, 0xefcdab89, 4);
  store<u32>(STATE, 0x98badcfe, 8);
  store<u32>(STATE, 0x10325476, 12);
  store<u32>(STATE, 0xc3d2e1f0, 16);
}

/** The whole blocks at INPUT. Returns the vectors by which a collision was found. */
export function absorb(blocks: u32): u32 {
  let found: u32 = 0;
  for (let done: u32 = 0; done < blocks; done += <u32>GROUP) {
    expand(INPUT + done * BLOCK);
    applyConditions(forced);
    const lanes = min(blocks - done, <u32>GROUP);
    for (let lane: u32 = 0; lane < lanes; lane++) {
      compress(lane << 2);
      let alive = load<u32>(ALIVE + (lane << 2));
      while (alive) {
        const vector = ctz(alive);
        if (collides(lane << 2, vector)) found |= 1 << vector;
        alive &= alive - 1;
      }
    }
  }
  return found;
}

/** The last bytes at INPUT, with the padding; `total` is the length of the whole message. Leaves the DIGEST. */
export function finish(bytes: u32, total: f64): u32 {
  const end = (bytes + 9 + 63) & ~63;
  store<u8>(INPUT + bytes, 0x80);
  memory.fill(INPUT + bytes + 1, 0, end - bytes - 9);
  store<u64>(INPUT + end - 8, bswap((<u64>total) << 3));
  const found = absorb(end / <u32>BLOCK);
  for (let at: usize = 0; at < 20; at += 4) store<u32>(DIGEST + at, bswap(load<u32>(STATE + at)));
  return found;
}

/** A whole message at INPUT. */
export function hash(bytes: u32): u32 {
  begin();
  return finish(bytes, bytes);
}
