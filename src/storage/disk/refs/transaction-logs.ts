/** The reflog lines that one transaction writes. */
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { nullObjectId, type ObjectId } from "../../../object/object-id.js";
import type { RefTransaction } from "../../contracts/ref-store.js";
import { isDeletion, type PlannedUpdate } from "../../refs/planned-update.js";
import { committerOf, formatCommitter, reflogMessage, startsReflog } from "../../refs/reflog-entry.js";
import type { FilesRefs, FilesSettings } from "./files-refs.js";
import { appendReflog, hasReflogFile, removeReflogFile } from "./reflog-file.js";
import { pathOfReflog } from "./ref-paths.js";
import { removeLogDirectories } from "./ref-locks.js";

export class TransactionLogs {
  readonly #refs: FilesRefs;
  readonly #settings: FilesSettings;
  readonly #onDirectoryMade: (path: string) => void;
  readonly #committer: string;
  readonly #directories = new Map<string, boolean>();
  readonly #writing: Promise<void>[] = [];

  constructor(
    refs: FilesRefs,
    settings: FilesSettings,
    committer: RefTransaction["committer"],
    onDirectoryMade: (path: string) => void,
  ) {
    this.#refs = refs;
    this.#settings = settings;
    this.#onDirectoryMade = onDirectoryMade;
    this.#committer = formatCommitter(committerOf(committer));
  }

  /** Whether a change of the ref is logged. */
  keeps(name: string): boolean {
    if (startsReflog(name, this.#settings.logAllRefUpdates)) return true;
    const path = pathOfReflog(this.#refs.paths, name);
    return this.#hasDirectory(dirname(path)) && hasReflogFile(path);
  }

  /** @param names the logs that get the line */
  append(
    { update }: PlannedUpdate,
    names: readonly string[],
    change: { readonly from: ObjectId | undefined; readonly to: ObjectId | undefined },
  ): void {
    const none = nullObjectId(this.#refs.objectFormat);
    for (const name of names) {
      if (!this.keeps(name)) continue;
      const entry = {
        oldOid: change.from ?? none,
        newOid: change.to ?? none,
        committer: this.#committer,
        message: reflogMessage(update.reflogMessage),
      };
      const options = {
        shared: this.#settings.sharedRepository,
        onDirectoryMade: this.#onDirectoryMade,
        create: startsReflog(name, this.#settings.logAllRefUpdates),
        sync: this.#refs.sync,
      };
      this.#writing.push(appendReflog(pathOfReflog(this.#refs.paths, name), entry, options));
    }
  }

  /** The log of a deleted ref goes with it. @throws storage/io */
  remove(name: string): void {
    const path = pathOfReflog(this.#refs.paths, name);
    if (!this.#hasDirectory(dirname(path))) return;
    removeReflogFile(path);
    removeLogDirectories(this.#refs, name);
  }

  /** Until all lines are written, and on the disk. @throws storage/io */
  async finish(): Promise<void> {
    await Promise.all(this.#writing);
  }

  /** Most repositories on a server keep no logs at all; then a look at one directory answers for all its refs. */
  #hasDirectory(path: string): boolean {
    const known = this.#directories.get(path);
    if (known !== undefined) return known;
    const exists = existsSync(path);
    this.#directories.set(path, exists);
    return exists;
  }
}

/** The logs that a change of this ref is written to, besides the ref's own: the symbolic refs that led to it. */
export function logNames(
  { name, update, through }: PlannedUpdate,
  isNoChange: boolean,
  alsoHead: boolean,
): readonly string[] {
  const own = isDeletion(update) || isNoChange ? [] : [name];
  return [...own, ...through, ...(alsoHead && !through.includes("HEAD") ? ["HEAD"] : [])];
}
