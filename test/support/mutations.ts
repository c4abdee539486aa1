/** Damage to bytes, the same in every run. */

export interface Mutation {
  /** For the message of a failing test. */
  readonly what: string;
  readonly bytes: Buffer;
}

export function* truncations(bytes: Buffer, step = 1): Generator<Mutation> {
  for (let end = 0; end < bytes.length; end += step)
    yield { what: `truncated at ${end}`, bytes: bytes.subarray(0, end) };
}

/** One bit of each byte, another one in each turn. */
export function* flips(bytes: Buffer, step = 1): Generator<Mutation> {
  for (let at = 0; at < bytes.length; at += step) {
    for (const mask of [1 << (at % 8), 0x80 >> ((at * 3) % 8)]) {
      const flipped = Buffer.from(bytes);
      flipped[at] = (flipped[at] ?? 0) ^ mask;
      yield { what: `byte ${at} xor ${mask}`, bytes: flipped };
    }
  }
}

/** Where pkt-lines begin, the end of the last one included; what follows a pack's beginning is no pkt-line. */
export function lineStarts(bytes: Buffer): readonly number[] {
  const starts: number[] = [];
  let at = 0;
  while (at < bytes.length && bytes.toString("latin1", at, at + 4) !== "PACK") {
    starts.push(at);
    at += Math.max(4, Number.parseInt(bytes.toString("latin1", at, at + 4), 16));
  }
  return [...starts, at];
}

/** Lines left out, doubled, exchanged with the next, and special packets between them. */
export function* lineChanges(bytes: Buffer): Generator<Mutation> {
  const starts = lineStarts(bytes);
  for (const [i, start] of starts.entries()) {
    const before = bytes.subarray(0, start);
    const after = bytes.subarray(start);
    for (const packet of [
      "0000",
      "0001",
      "0002",
      "0003",
      "0004",
      "0005\n",
      "fff1",
      "ffff",
      "00 9",
      "-001",
      "0x10",
    ])
      yield { what: `${packet} at ${start}`, bytes: Buffer.concat([before, Buffer.from(packet), after]) };
    const end = starts[i + 1];
    if (end === undefined) continue;
    const line = bytes.subarray(start, end);
    yield { what: `without the line at ${start}`, bytes: Buffer.concat([before, bytes.subarray(end)]) };
    yield { what: `the line at ${start} twice`, bytes: Buffer.concat([before, line, after]) };
    const next = starts[i + 2];
    if (next === undefined) continue;
    const swapped = [before, bytes.subarray(end, next), line, bytes.subarray(next)];
    yield { what: `the line at ${start} after the next`, bytes: Buffer.concat(swapped) };
  }
}
