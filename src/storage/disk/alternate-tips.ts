/**
 * Ref tips of the repositories that this one borrows objects from: what a pusher need not send (`.have`).
 */
import { basename, dirname } from "node:path";
import { isGitwharfError } from "../../base/errors.js";
import type { ObjectFormat } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import type { RefStore } from "../contracts/ref-store.js";
import { findGitDirectory } from "./git-directory.js";
import { openRefStore } from "./open-ref-store.js";
import type { ObjectDirectory } from "./object-directory.js";
import { RepositoryConfig } from "./repository-config.js";

const NO_TIPS: AlternateTipsAtOnce = { tips: [], version: "" };

export interface AlternateTipsAtOnce {
  readonly tips: readonly ObjectId[];
  /** Equal versions of one `AlternateTips` mean equal tips. */
  readonly version: string;
}

export class AlternateTips {
  readonly #objectFormat: ObjectFormat;
  readonly #stores = new Map<string, Promise<RefStore | undefined>>();
  #last: AlternateTipsAtOnce = NO_TIPS;

  constructor(objectFormat: ObjectFormat) {
    this.#objectFormat = objectFormat;
  }

  async read(directories: readonly ObjectDirectory[]): Promise<AlternateTipsAtOnce> {
    if (directories.length === 0) return NO_TIPS;
    const snapshots = await Promise.all(directories.map(({ path }) => this.#snapshot(path)));
    const version = snapshots.map((snapshot) => snapshot?.version ?? "-").join(",");
    if (version !== this.#last.version) {
      const tips = new Set<ObjectId>();
      for (const snapshot of snapshots) for (const { oid } of snapshot?.all ?? []) tips.add(oid);
      this.#last = { tips: [...tips], version };
    }
    return this.#last;
  }

  async close(): Promise<void> {
    const stores = await Promise.allSettled(this.#stores.values());
    this.#stores.clear();
    for (const store of stores) if (store.status === "fulfilled") await store.value?.close();
  }

  async #snapshot(path: string): Promise<Awaited<ReturnType<RefStore["snapshot"]>> | undefined> {
    let opening = this.#stores.get(path);
    if (opening === undefined) this.#stores.set(path, (opening = this.#open(path)));
    try {
      return await (await opening)?.snapshot();
    } catch (error) {
      // They only spare work: a repository that cannot be read has no tips to offer.
      if (!isGitwharfError(error)) throw error;
      this.#stores.delete(path);
      return undefined;
    }
  }

  /** undefined when the objects belong to no repository, or to one of another object format. */
  async #open(path: string): Promise<RefStore | undefined> {
    if (basename(path) !== "objects") return undefined;
    const found = await findGitDirectory(dirname(path));
    if (found === undefined) return undefined;
    const gitDirectory = found.path;
    const config = new RepositoryConfig({ gitDirectory, commonDirectory: gitDirectory, looksBare: true });
    const { objectFormat, refFormat } = await config.format();
    if (objectFormat !== this.#objectFormat) return undefined;
    return openRefStore({
      gitDirectory,
      commonDirectory: gitDirectory,
      objectFormat,
      refFormat,
      durability: "none",
    });
  }
}
