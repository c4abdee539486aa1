/**
 * SHA-1 that tells whether a message shows signs of a collision attack: half of a pair made to share one hash.
 *
 * Each 64-byte block is looked at by itself: if it had been made for one of the 32 known disturbance vectors, the
 * other half of the pair is this block with the vector's differences, and the two lead to the same chaining value.
 * That other block is computed and compared; no other half has to be known, and an honest message fails the comparison
 * but for one in 2^128. The digest is plain SHA-1. An attack on other vectors than those would pass.
 *
 * The work is done in WebAssembly (`assembly/`), for about a third of the speed of OpenSSL: it is for objects from
 * peers, not for trailers. One detector per thread; it is not reentrant, but streams of one detector may interleave.
 */
import { readFileSync } from "node:fs";
import { GitwharfError } from "../base/errors.js";
import { compileWasm, instantiateWasm, type WasmModule } from "../base/web-assembly.js";

export interface CollisionDetector {
  /** Bytes of the digest into `target` at `at`; whether there are signs of an attack. For messages of any size. */
  hash(head: Uint8Array, body: Uint8Array, target: Uint8Array, at: number): boolean;
  /** For a message that comes in pieces. */
  open(): DetectingHash;
}

export interface DetectingHash {
  update(piece: Uint8Array): void;
  /** Once. */
  digest(target: Uint8Array, at: number): boolean;
}

/** As `assembly/memory-layout.ts` has it. */
const STATE = 18_960;
const STATE_BYTES = 20;
const DIGEST = 19_072;
const DIGEST_BYTES = 20;
const INPUT = 65_536;
const INPUT_BYTES_MAX = 65_536;
const BLOCK_BYTES = 64;

let compiled: WasmModule | undefined;

interface Machine {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly forced: { value: number };
  begin(): number;
  absorb(blocks: number): number;
  finish(bytes: number, total: number): number;
  hash(bytes: number): number;
}

/**
 * @param tryAlways disturbance vectors to try on every block, whatever its bit conditions say: for tests
 * @throws server/bad-configuration where it cannot run
 */
export function createCollisionDetector(tryAlways = 0): CollisionDetector {
  compiled ??= compile(new URL("collision-detection.wasm", import.meta.url));
  const machine = instantiateWasm(compiled) as unknown as Machine;
  machine.forced.value = tryAlways | 0;
  const memory = new Uint8Array(machine.memory.buffer);
  const open = (): DetectingHash => new StreamedHash(machine, memory);
  return {
    open,
    hash(head, body, target, at) {
      const size = head.length + body.length;
      if (size > INPUT_BYTES_MAX) {
        const stream = open();
        stream.update(head);
        stream.update(body);
        return stream.digest(target, at);
      }
      memory.set(head, INPUT);
      memory.set(body, INPUT + head.length);
      const found = machine.hash(size);
      putDigest(memory, target, at);
      return found !== 0;
    },
  };
}

/** Fails on processors without vector instructions that WebAssembly can use, in a Node without WebAssembly, and where the file was not built. */
function compile(file: URL): WasmModule {
  try {
    return compileWasm(readFileSync(file));
  } catch (cause) {
    throw new GitwharfError(
      "server/bad-configuration",
      "SHA-1 collision detection cannot run: it needs WebAssembly with SIMD and the file that `npm run build` makes; " +
        `turn it off (collisionDetection: false, --no-collision-detection) to do without: ${String(cause)}`,
      { cause },
    );
  }
}

class StreamedHash implements DetectingHash {
  readonly #machine: Machine;
  readonly #memory: Uint8Array;
  /** The chaining value while another message is in the machine. */
  readonly #state = new Uint8Array(STATE_BYTES);
  /** Bytes short of a block. */
  readonly #rest = new Uint8Array(BLOCK_BYTES);
  #restBytes = 0;
  #total = 0;
  #found = false;

  constructor(machine: Machine, memory: Uint8Array) {
    this.#machine = machine;
    this.#memory = memory;
    machine.begin();
    this.#keepState();
  }

  update(piece: Uint8Array): void {
    this.#total += piece.length;
    this.#memory.set(this.#state, STATE);
    let taken = 0;
    while (this.#restBytes + piece.length - taken >= BLOCK_BYTES) {
      const rest = this.#restBytes;
      const bytes = Math.min(INPUT_BYTES_MAX, wholeBlocks(rest + piece.length - taken));
      this.#memory.set(this.#rest.subarray(0, rest), INPUT);
      this.#memory.set(piece.subarray(taken, taken + bytes - rest), INPUT + rest);
      if (this.#machine.absorb(bytes / BLOCK_BYTES) !== 0) this.#found = true;
      taken += bytes - rest;
      this.#restBytes = 0;
    }
    this.#rest.set(piece.subarray(taken), this.#restBytes);
    this.#restBytes += piece.length - taken;
    this.#keepState();
  }

  digest(target: Uint8Array, at: number): boolean {
    this.#memory.set(this.#state, STATE);
    this.#memory.set(this.#rest.subarray(0, this.#restBytes), INPUT);
    if (this.#machine.finish(this.#restBytes, this.#total) !== 0) this.#found = true;
    putDigest(this.#memory, target, at);
    return this.#found;
  }

  #keepState(): void {
    this.#state.set(this.#memory.subarray(STATE, STATE + STATE_BYTES));
  }
}

function wholeBlocks(bytes: number): number {
  return bytes - (bytes % BLOCK_BYTES);
}

function putDigest(memory: Uint8Array, target: Uint8Array, at: number): void {
  for (let i = 0; i < DIGEST_BYTES; i++) target[at + i] = memory[DIGEST + i] ?? 0;
}
