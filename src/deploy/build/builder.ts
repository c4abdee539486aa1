/**
 * Takes builds from the queue and does them, as many at once as it may; renews their leases; ends those that are to be
 * cancelled or were lost. It does not know of pushes: who waits for a build follows it.
 */
import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { type Build, isOpen } from "../../database/build-store.js";
import { removeTree } from "../state/deploy-directories.js";
import type { DeployState } from "../state/deploy-state.js";
import { isElsewhere } from "../state/elsewhere.js";
import { pruneApp, type Retention } from "../state/prune.js";
import { BuildFailure } from "./build-failure.js";
import type { BuildLogs, BuildLogWriter } from "./build-log.js";
import { createBuildOutput } from "./build-output.js";
import type { BuildWay } from "./build-way.js";

export interface BuilderOptions {
  readonly state: DeployState;
  readonly logs: BuildLogs;
  readonly way: BuildWay;
  /** Builds at once in this process. */
  readonly concurrencyMax: number;
  /** After so long without a word a builder is dead. */
  readonly leaseMs: number;
  /** How often a build is begun whose builders die. */
  readonly claimsMax: number;
  readonly retention: Retention;
  /** Told of each build that this one has settled; does its work later, and does not throw. */
  readonly onEnded: (ended: EndedBuild) => void;
  readonly log: (text: string, error?: unknown) => void;
}

export interface EndedBuild {
  readonly build: Build;
  readonly status: "succeeded" | "failed" | "cancelled";
  /** Empty when it succeeded. */
  readonly reason: string;
  /** From the moment in which it was begun, without its time in the queue. */
  readonly milliseconds: number;
}

export interface Builder {
  /** There may be something to do: looks at once. */
  poke(): void;
  /** Ends it; a build that waits is over at once. @returns false when it is over already */
  cancel(id: string, reason: string): Promise<boolean>;
  /** Ends it as long as it waits; what has begun goes on. */
  cancelWaiting(id: string, reason: string): Promise<void>;
  /**
   * Begins nothing more. What is at work is ended and goes back into the queue, where the next builder finds it.
   * Idempotent.
   */
  close(): Promise<void>;
}

/** Why a build ends that its builder ends. */
type Interruption = "cancelled" | "lost" | "closing";

interface Running {
  readonly controller: AbortController;
  why: Interruption | undefined;
}

export function createBuilder(options: BuilderOptions): Builder {
  const { state, logs, leaseMs, claimsMax, log } = options;
  const { builds, directories } = state;
  const owner = randomUUID();
  const running = new Map<string, Running>();
  const working = new Set<Promise<void>>();
  let isClosed = false;
  let isLooking = false;
  let mustLookAgain = false;
  let looking: Promise<void> = Promise.resolve();

  const interrupt = (id: string, why: Interruption): void => {
    const found = running.get(id);
    if (found === undefined || found.why !== undefined) return;
    found.why = why;
    found.controller.abort(
      why === "cancelled" ? "it was cancelled" : why === "lost" ? "its lease was lost" : "the server stops",
    );
  };

  const claimAll = async (): Promise<void> => {
    try {
      do {
        mustLookAgain = false;
        while (!isClosed && running.size < options.concurrencyMax) {
          const build = await builds.claim(directories.place, owner, leaseMs);
          if (build === undefined) break;
          if (isClosed) await builds.giveBack(build.id, owner, leaseMs);
          else begin(build);
        }
      } while (mustLookAgain);
    } catch (error) {
      log("the queue of builds cannot be read", error);
    } finally {
      isLooking = false;
    }
  };
  const look = (): Promise<void> => {
    if (isLooking) mustLookAgain = true;
    else {
      isLooking = true;
      looking = claimAll();
    }
    return looking;
  };
  const begin = (build: Build): void => {
    const controller = new AbortController();
    running.set(build.id, { controller, why: undefined });
    logs.notify(build.id);
    const work = attend(build, controller.signal)
      .catch((error: unknown) => log(`the build ${build.id} cannot be settled`, error))
      .finally(() => {
        running.delete(build.id);
        working.delete(work);
        logs.notify(build.id);
        void look();
      });
    working.add(work);
  };

  const attend = async (build: Build, signal: AbortSignal): Promise<void> => {
    const writer = await logs.write(build.id, directories.logOf(build.id), signal);
    const begun = performance.now();
    try {
      const end = await carryOut(build, writer, signal);
      const why = running.get(build.id)?.why;
      // Another builder has it by now, and works elsewhere.
      if (why === "lost" || why === "closing") {
        await removeTree(directories.workOf(build.id, build.claims));
        if (why === "closing") await builds.giveBack(build.id, owner, leaseMs);
        return;
      }
      const outcome =
        "product" in end
          ? ({ status: "succeeded", product: end.product } as const)
          : why === "cancelled"
            ? ({ status: "cancelled", reason: "it was cancelled" } as const)
            : ({ status: "failed", reason: end.reason } as const);
      const settled = await builds.finish(build.id, owner, outcome);
      if (settled)
        options.onEnded({
          build,
          status: outcome.status,
          reason: "reason" in outcome ? outcome.reason : "",
          milliseconds: performance.now() - begun,
        });
      // Removing files takes its time, for which nobody has to wait.
      logs.notify(build.id);
      if (settled) {
        try {
          await directories.removeBuild(build.id);
          await pruneApp(state, build.app, options.retention);
        } catch (error) {
          log(`files of builds that are over cannot be removed (build ${build.id})`, error);
        }
      } else if ("product" in end && !isElsewhere(end.product)) {
        // Another builder may have come to the same, under the same name.
        const now = await builds.find(build.id);
        if (now === undefined || isOver(now)) await rm(end.product.slugPath, { force: true });
      }
    } finally {
      await writer.close();
    }
  };

  /** A word about every end, whatever it is. */
  const carryOut = async (build: Build, writer: BuildLogWriter, signal: AbortSignal) => {
    const output = createBuildOutput((bytes) => writer.append(bytes));
    try {
      const app = await state.apps.findById(build.app);
      if (app === undefined) return { reason: "its app is gone" };
      return { product: await options.way.build({ build, app, output, signal }) };
    } catch (error) {
      if (error instanceof BuildFailure) {
        await output.warning(`Build failed: ${error.reason}.`);
        return { reason: error.reason };
      }
      if (signal.aborted) return { reason: "it was ended" };
      log(`the build ${build.id} failed`, error);
      await output.warning(`Build failed: the server could not do it (build ${build.id}); ask its operator.`);
      return { reason: "the server could not do it" };
    }
  };

  const renew = async (id: string): Promise<void> => {
    const found = await builds.renew(id, owner, leaseMs);
    if (found === "cancel") interrupt(id, "cancelled");
    else if (found === "lost") interrupt(id, "lost");
  };
  /** The time since the last word that the database has taken: a lease that could not be renewed is lost. */
  let lastBeat = Date.now();
  const beat = async (): Promise<void> => {
    try {
      await builds.keepPlace(directories.place, leaseMs);
      for (const id of running.keys()) await renew(id);
      lastBeat = Date.now();
      await builds.settleExpired(claimsMax, leaseMs);
    } catch (error) {
      log("leases of builds cannot be renewed", error);
      if (Date.now() - lastBeat > leaseMs) for (const id of running.keys()) interrupt(id, "lost");
    }
    await look();
  };
  let beating: Promise<void> = beat();
  const timer = setInterval(() => {
    beating = beating.then(beat);
  }, leaseMs / 3);
  timer.unref();

  return {
    poke: () => void look(),
    async cancel(id, reason) {
      const found = await builds.cancel(id, reason);
      if (found === "asked") interrupt(id, "cancelled");
      if (found === "cancelled") await directories.removeBuild(id);
      logs.notify(id);
      void look();
      return found !== "over";
    },
    async cancelWaiting(id, reason) {
      if (!(await builds.cancelWaiting(id, reason))) return;
      await directories.removeBuild(id);
      logs.notify(id);
      void look();
    },
    async close() {
      isClosed = true;
      clearInterval(timer);
      for (const id of running.keys()) interrupt(id, "closing");
      await beating;
      await looking;
      await Promise.all(working);
    },
  };
}

/** Without a slug. */
function isOver({ status }: Build): boolean {
  return !isOpen(status) && status !== "succeeded";
}
