/**
 * A `ByteSource` whose reader can also be woken by something else: the reader of a push must notice that the pack
 * is whole (or wrong) while it waits for bytes that, on a connection that stays open, never come.
 */
import type { ByteSource } from "../../base/byte-streams.js";

export type FeedEvent = Uint8Array | "end" | "woken";

type Arrival =
  | { readonly ok: true; readonly result: IteratorResult<Uint8Array, unknown> }
  | { readonly ok: false; readonly error: unknown };

export class ChunkFeed {
  readonly #iterator: AsyncIterator<Uint8Array, unknown>;
  #waiting = false;
  #arrival: Arrival | undefined;
  #ended = false;
  #woken = false;
  #resume: (() => void) | undefined;

  constructor(source: ByteSource) {
    this.#iterator = source[Symbol.asyncIterator]();
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Makes the present or the next `next()` return at once. */
  wake(): void {
    this.#woken = true;
    this.#resume?.();
  }

  /**
   * The next chunk; "end" once; "woken" by `wake`, or when `idleMs` have gone by without a chunk. After "end" it
   * waits for `wake` alone.
   * @throws what the source throws
   */
  async next(idleMs?: number): Promise<FeedEvent> {
    if (!this.#waiting && !this.#ended && this.#arrival === undefined) this.#pull();
    if (this.#arrival === undefined && !this.#woken) await this.#sleep(this.#ended ? undefined : idleMs);
    const arrival = this.#arrival;
    if (arrival === undefined) {
      this.#woken = false;
      return "woken";
    }
    this.#arrival = undefined;
    if (!arrival.ok) throw arrival.error;
    if (!arrival.result.done) return arrival.result.value;
    this.#ended = true;
    return "end";
  }

  /** Lets go of the source. What it still sends, or how it fails, no longer matters. */
  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    // A generator that waits for bytes returns only after they came: nobody waits for that here.
    this.#iterator.return?.().catch(() => undefined);
  }

  #pull(): void {
    this.#waiting = true;
    const arrive = (arrival: Arrival): void => {
      this.#waiting = false;
      this.#arrival = arrival;
      this.#resume?.();
    };
    this.#iterator.next().then(
      (result) => arrive({ ok: true, result }),
      (error: unknown) => arrive({ ok: false, error }),
    );
  }

  async #sleep(idleMs: number | undefined): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#resume = resolve;
      if (idleMs !== undefined) timer = setTimeout(resolve, idleMs);
    });
    clearTimeout(timer);
    this.#resume = undefined;
  }
}
