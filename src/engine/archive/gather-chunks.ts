/** Small chunks put together, so that who sends them has few to send; large ones pass as they are. */
const GATHERED_BYTES = 64 * 1024;
const LARGE_BYTES = 16 * 1024;

export interface ChunkGatherer {
  add(bytes: Uint8Array): void;
  zeros(count: number): void;
  /** What is ready to go; with `all`, also what is not full yet. */
  take(all?: boolean): Uint8Array[];
}

export function createChunkGatherer(): ChunkGatherer {
  let ready: Uint8Array[] = [];
  let open = Buffer.allocUnsafe(GATHERED_BYTES);
  let start = 0;
  let used = 0;
  const seal = (): void => {
    if (used > start) ready.push(open.subarray(start, used));
    start = used;
  };
  const room = (count: number): void => {
    if (used + count <= open.length) return;
    seal();
    open = Buffer.allocUnsafe(GATHERED_BYTES);
    start = used = 0;
  };
  return {
    add(bytes) {
      if (bytes.length > LARGE_BYTES) {
        seal();
        ready.push(bytes);
        return;
      }
      room(bytes.length);
      open.set(bytes, used);
      used += bytes.length;
    },
    zeros(count) {
      room(count);
      open.fill(0, used, used + count);
      used += count;
    },
    take(all = false) {
      if (all) seal();
      const taken = ready;
      ready = [];
      return taken;
    },
  };
}
