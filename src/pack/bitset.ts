/** Sets of small numbers, 32 to a word. Fixed size; reading past it answers false. */
export class Bitset {
  readonly words: Uint32Array;

  /** @param size numbers 0 to size − 1 fit */
  constructor(size: number | Uint32Array) {
    this.words = typeof size === "number" ? new Uint32Array(Math.ceil(size / 32)) : size;
  }

  has(n: number): boolean {
    return (((this.words[n >>> 5] ?? 0) >>> (n & 31)) & 1) === 1;
  }

  add(n: number): void {
    this.words[n >>> 5] = (this.words[n >>> 5] as number) | (1 << (n & 31));
  }

  clone(): Bitset {
    return new Bitset(this.words.slice());
  }

  or(other: Bitset): void {
    const n = Math.min(this.words.length, other.words.length);
    for (let i = 0; i < n; i++) this.words[i] = (this.words[i] as number) | (other.words[i] as number);
  }

  xor(other: Bitset): void {
    const n = Math.min(this.words.length, other.words.length);
    for (let i = 0; i < n; i++) this.words[i] = (this.words[i] as number) ^ (other.words[i] as number);
  }

  andNot(other: Bitset): void {
    const n = Math.min(this.words.length, other.words.length);
    for (let i = 0; i < n; i++) this.words[i] = (this.words[i] as number) & ~(other.words[i] as number);
  }

  count(): number {
    let total = 0;
    for (let word of this.words) {
      word -= (word >>> 1) & 0x55555555;
      word = (word & 0x33333333) + ((word >>> 2) & 0x33333333);
      total += (((word + (word >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24;
    }
    return total;
  }

  forEach(visit: (n: number) => void): void {
    for (let i = 0; i < this.words.length; i++) {
      let word = this.words[i] as number;
      while (word !== 0) {
        const low = word & -word;
        visit(i * 32 + 31 - Math.clz32(low));
        word ^= low;
      }
    }
  }
}
