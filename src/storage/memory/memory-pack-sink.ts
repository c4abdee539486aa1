/** A pack under construction in memory. */
import type { ByteRange } from "../../base/byte-range.js";
import { GitwharfError } from "../../base/errors.js";
import type { ObjectFormat } from "../../object/object-format.js";
import { Pack } from "../../pack/pack.js";
import { PackIndex } from "../../pack/pack-index.js";
import type { PackSink } from "../contracts/quarantine.js";
import { GrowingBuffer } from "../growing-buffer.js";

let serials = 0;

export class MemoryPackSink implements PackSink {
  readonly #objectFormat: ObjectFormat;
  readonly #onFinish: (pack: Pack) => void;
  readonly #bytes = new GrowingBuffer();
  #state: "open" | "finished" | "aborted" = "open";

  constructor(objectFormat: ObjectFormat, onFinish: (pack: Pack) => void) {
    this.#objectFormat = objectFormat;
    this.#onFinish = onFinish;
  }

  get sizeBytes(): number {
    return this.#bytes.sizeBytes;
  }

  async append(bytes: Uint8Array): Promise<void> {
    this.#changing();
    this.#bytes.append(bytes);
  }

  async overwrite(offset: number, bytes: Uint8Array): Promise<void> {
    this.#changing();
    this.#bytes.overwrite(offset, bytes);
  }

  async truncate(sizeBytes: number): Promise<void> {
    this.#changing();
    this.#bytes.truncate(sizeBytes);
  }

  range(): ByteRange {
    return this.#bytes.range();
  }

  async finish(files: { readonly trailer: string; readonly index: SharedArrayBuffer }): Promise<Pack> {
    this.#changing();
    this.#state = "finished";
    const pack = new Pack({
      key: `memory-${serials++}`,
      name: `pack-${files.trailer}`,
      index: PackIndex.parse(files.index, this.#objectFormat),
      bytes: this.#bytes.finish(),
    });
    this.#onFinish(pack);
    return pack;
  }

  async abort(): Promise<void> {
    if (this.#state !== "open") return;
    this.#state = "aborted";
    this.#bytes.truncate(0);
  }

  #changing(): void {
    if (this.#state !== "open")
      throw new GitwharfError("base/invariant", `a pack was changed after it was ${this.#state}`);
  }
}
