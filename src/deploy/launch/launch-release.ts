/**
 * What there is to launch, as the rows of releases tell it. Types only: whoever makes releases keeps them
 * (`LaunchRecords`), and this folder runs them.
 */
export interface LaunchRelease {
  readonly id: string;
  readonly app: string;
  /** 12 in `v12`. */
  readonly number: number;
  readonly commit: string;
  /** A tar of the build directory. */
  readonly slugPath: string;
  /** Commands by the names of the Procfile: `web`, `worker`, … A static site has `static`, whose text is a directory. */
  readonly processTypes: Readonly<Record<string, string>>;
  readonly config: Readonly<Record<string, string>>;
  /** Milliseconds. */
  readonly createdAt: number;
  readonly createdBy: string | undefined;
  /** A word of whoever keeps it. */
  readonly status: string;
  /** What made it: `Deploy 1234567`, `Set GREETING`. */
  readonly description?: string;
}

/** How many processes of which type: `{ web: 2, worker: 1 }`. */
export type Formation = Readonly<Record<string, number>>;

/** The durable state that launching reads and writes. */
export interface LaunchRecords {
  listApps(): Promise<readonly string[]>;
  /** Newest first. */
  listReleases(app: string, max: number): Promise<readonly LaunchRelease[]>;
  /** The one that runs, or is to. undefined: none has been launched. */
  currentRelease(app: string): Promise<LaunchRelease | undefined>;
  /** What somebody has said; of `web` there is one unless it says so, of others none. */
  formationOf(app: string): Promise<Formation | undefined>;
  setFormation(app: string, formation: Formation): Promise<void>;
  configOf(app: string): Promise<Readonly<Record<string, string>>>;
  /**
   * Sets variables, or removes those that are null, and makes a release with them of the slug that is current.
   * @returns that release, not launched yet; undefined: there is no slug so far
   */
  changeConfig(
    app: string,
    changes: Readonly<Record<string, string | null>>,
    by: string | undefined,
  ): Promise<LaunchRelease | undefined>;
  /**
   * A new release with what that one had, not launched yet. undefined: there is none of that number, or it never ran.
   * @throws storage/not-found: its files are kept no longer
   */
  copyRelease(app: string, number: number, by: string | undefined): Promise<LaunchRelease | undefined>;
  /** The newest, when it is one of a changed configuration or a copy and the server was stopped before it was launched. */
  unfinishedRelease(app: string): Promise<LaunchRelease | undefined>;
  /** What became of a launch; "launched" makes it the current one. */
  settleRelease(id: string, outcome: "launched" | "failed"): Promise<void>;
}

/** The process type whose text is a directory of files that are served as they are. */
export const STATIC_TYPE = "static";
/** The process type that answers HTTP on PORT. */
export const WEB_TYPE = "web";

export function isStaticSite({ processTypes }: Pick<LaunchRelease, "processTypes">): boolean {
  return processTypes[STATIC_TYPE] !== undefined && processTypes[WEB_TYPE] === undefined;
}
