/**
 * The objects of a snapshot that was taken for its refs: looked for when one of them is asked for after all. Who lists refs
 * asks nothing of the bucket.
 */
import { GitwharfError } from "../../base/errors.js";
import type { ObjectFormat } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import type {
  GitObject,
  ObjectHeader,
  ObjectReader,
  ObjectReaderDescriptor,
} from "../contracts/object-reader.js";
import type { ObjectsView } from "./objects-view.js";

/** Of `ObjectReader` only what `SnapshotOptions.onlyRefs` promises. */
export class LateObjects implements ObjectReader {
  readonly objectFormat: ObjectFormat;
  readonly packs = [];
  readonly commitGraph = undefined;
  readonly #open: () => Promise<ObjectsView>;
  #opening: Promise<ObjectsView> | undefined;
  #isReleased = false;

  constructor(objectFormat: ObjectFormat, open: () => Promise<ObjectsView>) {
    this.objectFormat = objectFormat;
    this.#open = open;
  }

  async read(oid: ObjectId): Promise<GitObject | undefined> {
    return (await this.#opened()).reader.read(oid);
  }

  async readHeader(oid: ObjectId): Promise<ObjectHeader | undefined> {
    return (await this.#opened()).reader.readHeader(oid);
  }

  async has(oid: ObjectId): Promise<boolean> {
    return (await this.#opened()).reader.has(oid);
  }

  locate(): undefined {
    return undefined;
  }

  async *looseObjects(): AsyncGenerator<ObjectId, void, void> {}

  describe(): ObjectReaderDescriptor {
    throw new GitwharfError(
      "base/invariant",
      "a snapshot that was taken for its refs was asked for its packs",
    );
  }

  release(): void {
    this.#isReleased = true;
    void this.#opening?.then((view) => view.release()).catch(() => undefined);
  }

  async #opened(): Promise<ObjectsView> {
    if (this.#isReleased) throw new GitwharfError("base/invariant", "objects are used after their release");
    // One that could not be opened is opened anew for who asks next.
    this.#opening ??= this.#open().catch((error: unknown) => {
      this.#opening = undefined;
      throw error;
    });
    return this.#opening;
  }
}
