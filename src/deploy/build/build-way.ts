/** How builds are carried out, as the queue's builder and pushes see it: here by an executor, or by a dyno. Types only. */
import type { App } from "../../database/app-store.js";
import type { Build, BuildProduct } from "../../database/build-store.js";
import type { Push, PushedRef } from "../../engine/push.js";
import type { Repository } from "../../storage/contracts/repository.js";
import type { BuildOutput } from "./build-output.js";

export interface BuildWay {
  /**
   * Keeps in a directory, which it makes, what a build needs of a push: the push may be gone when it begins.
   * @returns paths that are left out of it
   */
  keep(pushed: PushedToApp, directory: string): Promise<readonly string[]>;
  /** The same of a commit that the repository has. @throws storage/not-found */
  keepCommit(from: CommitInRepository, directory: string): Promise<void>;
  /** Once for each build that is begun. @throws BuildFailure, and what is the server's fault */
  build(job: WayJob): Promise<BuildProduct>;
  /** Is what came out of it still there? @param build one that succeeded */
  isKept(build: Build, product: BuildProduct): Promise<boolean>;
}

export interface PushedToApp {
  readonly push: Push;
  readonly update: PushedRef;
  readonly app: App;
}

export interface CommitInRepository {
  readonly repository: Repository;
  readonly commit: string;
  /** For the messages. */
  readonly app: App;
  readonly signal: AbortSignal;
}

export interface WayJob {
  readonly build: Build;
  readonly app: App;
  readonly output: BuildOutput;
  readonly signal: AbortSignal;
}
