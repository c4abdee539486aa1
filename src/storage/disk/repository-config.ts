/**
 * A repository's `config` file: its format and the settings that the server honours, read again when it changed.
 */
import { resolve } from "node:path";
import type { RepositorySettings } from "../contracts/repository-settings.js";
import { CachedFile } from "./cached-file.js";
import { badSetting, GitConfig } from "./git-config-values.js";
import { parseRepositoryFormat, type RepositoryFormat } from "./repository-format.js";
import { parseSkipList, settingsFromConfig } from "./settings-from-config.js";

const CONFIG_BYTES_MAX = 16 * 1024 * 1024;
const SKIP_LIST_BYTES_MAX = 64 * 1024 * 1024;
const NO_OIDS: ReadonlySet<string> = new Set();

type SkipList = ReadonlySet<string> | { readonly error: unknown };

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
        readonly skipList: SkipList;
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

  /**
   * The same object while nothing has changed.
   * @throws storage/bad-config, storage/io; and parts of it when they are read (`settingsFromConfig`)
   */
  async settings(): Promise<RepositorySettings> {
    const config = await this.#file.read();
    const skipList = await this.#readSkipList(config.text("receive.fsck.skiplist"));
    if (this.#settings?.config !== config || this.#settings.skipList !== skipList) {
      const value = settingsFromConfig({
        config,
        looksBare: this.#options.looksBare,
        fsckSkipList: () => {
          if ("error" in skipList) throw skipList.error;
          return skipList;
        },
      });
      this.#settings = { config, skipList, value };
    }
    return this.#settings.value;
  }

  async #readSkipList(named: string | undefined): Promise<SkipList> {
    if (named === undefined || named === "") return NO_OIDS;
    const path = resolve(this.#options.gitDirectory, named);
    if (this.#skipList?.path !== path) {
      this.#skipList = new CachedFile(path, {
        parse: (bytes) => {
          if (bytes !== undefined) return parseSkipList(bytes);
          throw badSetting(`receive.fsck.skiplist is '${named}', which does not exist`);
        },
        sizeBytesMax: SKIP_LIST_BYTES_MAX,
      });
    }
    try {
      return await this.#skipList.read();
    } catch (error) {
      return { error };
    }
  }
}
