/**
 * Taking snapshots of a repository on disk: refs, objects and shallow list of one instant, at the price of a few
 * `stat` calls when nothing has changed.
 *
 * Refs and objects are looked at side by side; only when the refs turn out to have changed are the objects looked at
 * again, because what the refs name must be looked for after they were read.
 */
import type { ObjectId } from "../../object/object-id.js";
import type { RefSnapshot, RefStore } from "../contracts/ref-store.js";
import type { Snapshot } from "../contracts/repository.js";
import type { AlternateTips } from "./alternate-tips.js";
import type { CachedFile } from "./cached-file.js";
import type { ObjectsView } from "./objects-view.js";
import type { RepositoryObjects } from "./repository-objects.js";

export interface RepositorySnapshotsOptions {
  readonly refs: RefStore;
  readonly objects: RepositoryObjects;
  readonly shallow: CachedFile<ReadonlySet<ObjectId>>;
  readonly tips: AlternateTips;
  /** @throws storage/not-found */
  readonly mustExist: () => Promise<void>;
}

export interface ObjectsAtOnce {
  /** The caller releases it. */
  readonly view: ObjectsView;
  readonly shallow: ReadonlySet<ObjectId>;
  readonly shallowGeneration: number;
}

export class RepositorySnapshots {
  readonly #options: RepositorySnapshotsOptions;
  /** The refs' version when objects were last looked at *after* the refs. */
  #pairedRefs: string | undefined;
  #isShallow = false;
  /** Of the shallow list when objects were last looked at after it. */
  #shallowGeneration: number | undefined;

  constructor(options: RepositorySnapshotsOptions) {
    this.#options = options;
  }

  async take(): Promise<Snapshot> {
    const { refs: refStore, mustExist } = this.#options;
    const [refs, early] = await this.#beside(
      Promise.all([refStore.snapshot(), mustExist()]).then(([read]) => read),
    );
    let objects = early;
    try {
      if (refs.version !== this.#pairedRefs) {
        const later = await this.takeObjects();
        objects.view.release();
        objects = later;
        this.#pairedRefs = refs.version;
      }
      objects.view.coverLooseUntil(performance.now());
      return await this.#compose(refs, objects);
    } catch (error) {
      objects.view.release();
      throw error;
    }
  }

  /** Objects alone, with something else that is looked at meanwhile. */
  async takeObjectsBeside<T>(other: Promise<T>): Promise<[T, ObjectsAtOnce]> {
    const [value, objects] = await this.#beside(other);
    objects.view.coverLooseUntil(performance.now());
    return [value, objects];
  }

  async takeObjects(): Promise<ObjectsAtOnce> {
    const { objects, shallow: file } = this.#options;
    const taking = objects.takeView({ commitGraph: !this.#isShallow });
    let shallow: ReadonlySet<ObjectId>;
    let view: ObjectsView;
    try {
      [shallow, view] = await Promise.all([file.read(), taking]);
    } catch (error) {
      taking.then((unused) => unused.release(), ignore);
      throw error;
    }
    const shallowGeneration = file.generation;
    const isSame = (this.#shallowGeneration ?? shallowGeneration) === shallowGeneration;
    this.#shallowGeneration = shallowGeneration;
    if (isSame && shallow.size > 0 === this.#isShallow) return { view, shallow, shallowGeneration };
    // A commit-graph knows parents that a shallow repository must not see; and the parents of a commit that has gone from the
    // list have come before it went.
    view.release();
    this.#isShallow = shallow.size > 0;
    return { view: await objects.takeView({ commitGraph: !this.#isShallow }), shallow, shallowGeneration };
  }

  /** Takes objects while `other` runs, and gives them back when it fails. */
  async #beside<T>(other: Promise<T>): Promise<[T, ObjectsAtOnce]> {
    const taking = this.takeObjects();
    try {
      return await Promise.all([other, taking]);
    } catch (error) {
      taking.then(({ view }) => view.release(), ignore);
      throw error;
    }
  }

  async #compose(refs: RefSnapshot, { view, shallow, shallowGeneration }: ObjectsAtOnce): Promise<Snapshot> {
    const { tips, objects } = this.#options;
    const alternates = await tips.read(objects.alternates);
    let released = false;
    return {
      version: [refs.version, view.serial, shallowGeneration, alternates.version].join("/"),
      head: refs.head,
      refs,
      objects: view.reader,
      shallow,
      alternateTips: alternates.tips,
      release() {
        if (released) return;
        released = true;
        view.release();
      },
    };
  }
}

function ignore(): void {}
