/**
 * A priority queue of commits: highest generation first, then latest date. Commits of unknown generation come before
 * all others (only newer commits are missing from a commit-graph). A binary heap.
 */
export interface QueuedCommit {
  readonly dateSeconds: number;
  readonly generation: number;
}

function before(a: QueuedCommit, b: QueuedCommit): boolean {
  return a.generation === b.generation ? a.dateSeconds > b.dateSeconds : a.generation > b.generation;
}

export class CommitQueue<T extends QueuedCommit> {
  readonly #heap: T[] = [];

  get size(): number {
    return this.#heap.length;
  }

  peek(): T | undefined {
    return this.#heap[0];
  }

  push(item: T): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(item);
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      const above = heap[parent] as T;
      if (!before(item, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = item;
  }

  pop(): T | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as T, heap[child] as T)) child++;
      const below = heap[child] as T;
      if (!before(below, last)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
    return top;
  }
}
