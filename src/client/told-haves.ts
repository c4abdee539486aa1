/**
 * How haves are told to a server that remembers nothing between requests: in batches that double, with what turned out to be
 * common told anew each time, until it has heard enough, or more would be in vain.
 */
import type { ObjectId } from "../object/object-id.js";
import type { HaveSource } from "./have-source.js";
import { RemoteGitFailure } from "./remote-git-failure.js";

const FIRST_BATCH = 16;
const BATCH_MAX = 16_384;
/** As git: once something is common, so many more that are not. */
const IN_VAIN_MAX = 256;
/** All together; what lies further back costs less to send than to find. */
const TOLD_MAX = 65_536;

export class ToldHaves {
  readonly #source: HaveSource | undefined;
  readonly #told = new Set<ObjectId>();
  readonly #common = new Set<ObjectId>();
  #batchSize = FIRST_BATCH;
  #inVain = 0;
  #isOver = false;

  constructor(source: HaveSource | undefined) {
    this.#source = source;
    this.#isOver = source === undefined;
  }

  /** Nothing more is told: the server is to send what it can. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Those of the next request. @throws base/aborted, object/corrupt, storage/io */
  async next(): Promise<readonly ObjectId[]> {
    const before = [...this.#common];
    if (this.#isOver) return before;
    if (this.#inVain >= IN_VAIN_MAX && this.#common.size > 0) this.#isOver = true;
    const left = Math.min(this.#batchSize, TOLD_MAX - this.#told.size);
    const batch = this.#isOver ? [] : ((await this.#source?.next(left)) ?? []);
    if (batch.length < this.#batchSize) this.#isOver = true;
    this.#batchSize = Math.min(this.#batchSize * 2, BATCH_MAX);
    this.#inVain += batch.length;
    for (const oid of batch) this.#told.add(oid);
    return [...before, ...batch];
  }

  /** @throws RemoteGitFailure when it was never told */
  acknowledge(oid: ObjectId): void {
    if (!this.#told.has(oid)) throw new RemoteGitFailure("the other side acknowledges what it was not told");
    if (this.#common.has(oid)) return;
    this.#common.add(oid);
    this.#inVain = 0;
    this.#source?.acknowledge(oid);
  }

  /** It has said that it is ready. */
  end(): void {
    this.#isOver = true;
  }
}
