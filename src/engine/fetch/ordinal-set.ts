/**
 * A set of small non-negative integers (object ordinals of an `ObjectSpace`): one bit each, growing as needed.
 */
export class OrdinalSet {
  #words: Uint32Array;
  #size = 0;

  /** @param capacity ordinals below it need no growth */
  constructor(capacity: number) {
    this.#words = new Uint32Array((capacity >>> 5) + 1);
  }

  /** Members. */
  get size(): number {
    return this.#size;
  }

  /** The bits, 32 a word, lowest first. Borrowed; replaced when the set grows. */
  get words(): Uint32Array {
    return this.#words;
  }

  has(ordinal: number): boolean {
    const word = ordinal >>> 5;
    return word < this.#words.length && ((this.#words[word] as number) & (1 << (ordinal & 31))) !== 0;
  }

  /** False when it was a member before. */
  add(ordinal: number): boolean {
    const word = ordinal >>> 5;
    if (word >= this.#words.length) this.#grow(word);
    const old = this.#words[word] as number;
    const bit = 1 << (ordinal & 31);
    if ((old & bit) !== 0) return false;
    this.#words[word] = old | bit;
    this.#size++;
    return true;
  }

  /** Adds the members of another set's words, counted from `first` on, which is a multiple of 32. */
  addWords(first: number, words: Uint32Array): void {
    const at = first >>> 5;
    if (at + words.length > this.#words.length) this.#grow(at + words.length);
    for (let i = 0; i < words.length; i++) {
      const old = this.#words[at + i] as number;
      const merged = (old | (words[i] as number)) >>> 0;
      if (merged === old) continue;
      this.#words[at + i] = merged;
      this.#size += popCount(merged) - popCount(old);
    }
  }

  delete(ordinal: number): boolean {
    if (!this.has(ordinal)) return false;
    const word = ordinal >>> 5;
    this.#words[word] = (this.#words[word] as number) & ~(1 << (ordinal & 31));
    this.#size--;
    return true;
  }

  /** Members in [from, to). */
  countBetween(from: number, to: number): number {
    let count = 0;
    let n = from;
    const end = Math.min(to, this.#words.length * 32);
    while (n < end && (n & 31) !== 0) count += this.has(n++) ? 1 : 0;
    for (; n + 32 <= end; n += 32) count += popCount(this.#words[n >>> 5] as number);
    while (n < end) count += this.has(n++) ? 1 : 0;
    return count;
  }

  /** Members in [from, to), in ascending order. */
  forEachBetween(from: number, to: number, visit: (ordinal: number) => void): void {
    const lastWord = Math.min((to + 31) >>> 5, this.#words.length);
    for (let w = from >>> 5; w < lastWord; w++) {
      let word = this.#words[w] as number;
      while (word !== 0) {
        const ordinal = w * 32 + 31 - Math.clz32(word & -word);
        if (ordinal >= to) return;
        if (ordinal >= from) visit(ordinal);
        word &= word - 1;
      }
    }
  }

  /** In ascending order. */
  forEach(visit: (ordinal: number) => void): void {
    for (let w = 0; w < this.#words.length; w++) {
      let word = this.#words[w] as number;
      while (word !== 0) {
        const bit = 31 - Math.clz32(word & -word);
        visit(w * 32 + bit);
        word &= word - 1;
      }
    }
  }

  #grow(word: number): void {
    const larger = new Uint32Array(Math.max(word + 1, this.#words.length + (this.#words.length >>> 1) + 64));
    larger.set(this.#words);
    this.#words = larger;
  }
}

function popCount(word: number): number {
  let n = word - ((word >>> 1) & 0x55555555);
  n = (n & 0x33333333) + ((n >>> 2) & 0x33333333);
  return (((n + (n >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24;
}
