/** What operators do with apps and builds beside what runs. Types only: whoever builds carries it out. */

export interface AppRow {
  readonly name: string;
  readonly repository: string;
  readonly branch: string;
  readonly createdAt: number;
  readonly createdBy: string;
  /** Of the release that is current. */
  readonly release: number | undefined;
  readonly commit: string | undefined;
}

export interface BuildRow {
  readonly id: string;
  readonly commit: string;
  readonly status: string;
  /** Why it did not succeed. */
  readonly reason: string;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly startedAt: number | undefined;
  readonly endedAt: number | undefined;
  /** Another platform launches what comes of it: nothing of the app has a log here. */
  readonly isElsewhere: boolean;
}

export interface BuildControl {
  apps(): Promise<readonly AppRow[]>;
  /** @throws storage/bad-name, storage/exists */
  createApp(app: {
    readonly name: string;
    readonly repository?: string | undefined;
    readonly branch?: string | undefined;
    readonly by: string;
  }): Promise<{ readonly name: string; readonly repository: string; readonly branch: string }>;
  /** With its releases, builds and files. Its processes are ended; its repository stays. @throws storage/not-found */
  removeApp(app: string): Promise<void>;
  /** Newest first. @throws storage/not-found */
  builds(app: string): Promise<readonly BuildRow[]>;
  /**
   * @param build @default the one at work, else the first that waits
   * @returns its id @throws storage/not-found: there is none that could be ended
   */
  cancelBuild(app: string, build: string | undefined): Promise<string>;
  /**
   * Builds a commit once more, and releases it.
   * @param commit @default what the app's branch is at
   * @returns what became of it @throws storage/not-found
   */
  retryBuild(
    app: string,
    options: {
      readonly commit: string | undefined;
      readonly by: string;
      readonly signal: AbortSignal;
      readonly onOutput: (chunk: Uint8Array) => void | Promise<void>;
    },
  ): Promise<{ readonly status: string; readonly reason: string }>;
}
