/**
 * A repository's `config` file: its format and the settings that the server honours, read again when it changed.
 */
import { resolve } from "node:path";
import { GitwharfError } from "../../base/errors.js";
import type { RepositorySettings } from "../contracts/repository-settings.js";
import { CachedFile } from "./cached-file.js";
import { GitConfig } from "./git-config-values.js";
import { parseRepositoryFormat, type RepositoryFormat } from "./repository-format.js";
import { parseSkipList, settingsFromConfig } from "./settings-from-config.js";

const CONFIG_BYTES_MAX = 16 * 1024 * 1024;
const SKIP_LIST_BYTES_MAX = 64 * 1024 * 1024;
const NO_OIDS: ReadonlySet<string> = new Set();

export interface RepositoryConfigOptions {
  readonly gitDirectory: string;
  /** Where `config` is: another directory for a linked work tree. */
  readonly commonDirectory: string;
  readonly looksBare: boolean;
}

export class RepositoryConfig {
  readonly #options: RepositoryConfigOptions;
  readonly #file: CachedFile<GitConfig>;
  #skipList: CachedFile<ReadonlySet<string>> | undefined;
  #settings:
    | {
        readonly config: GitConfig;
        readonly skipList: ReadonlySet<string>;
        readonly value: RepositorySettings;
      }
    | undefined;

  constructor(options: RepositoryConfigOptions) {
    this.#options = options;
    const path = `${options.commonDirectory}/config`;
    this.#file = new CachedFile(path, {
      parse: (bytes) => GitConfig.parse(bytes?.toString("utf8") ?? "", path),
      sizeBytesMax: CONFIG_BYTES_MAX,
    });
  }

  /** @throws storage/bad-config, storage/unsupported, storage/io */
  async format(): Promise<RepositoryFormat> {
    return parseRepositoryFormat(await this.#file.read(), this.#options.gitDirectory);
  }

  /** The same object while nothing has changed. @throws storage/bad-config, storage/io */
  async settings(): Promise<RepositorySettings> {
    const config = await this.#file.read();
    const skipList = await this.#readSkipList(config.text("receive.fsck.skiplist"));
    if (this.#settings?.config !== config || this.#settings.skipList !== skipList) {
      const value = settingsFromConfig({
        config,
        looksBare: this.#options.looksBare,
        fsckSkipList: skipList,
      });
      this.#settings = { config, skipList, value };
    }
    return this.#settings.value;
  }

  async #readSkipList(named: string | undefined): Promise<ReadonlySet<string>> {
    if (named === undefined || named === "") return NO_OIDS;
    const path = resolve(this.#options.gitDirectory, named);
    if (this.#skipList?.path !== path) {
      this.#skipList = new CachedFile(path, {
        parse: (bytes) => {
          if (bytes !== undefined) return parseSkipList(bytes);
          throw new GitwharfError(
            "storage/bad-config",
            `receive.fsck.skipList names ${path}, which does not exist`,
          );
        },
        sizeBytesMax: SKIP_LIST_BYTES_MAX,
      });
    }
    return this.#skipList.read();
  }
}
