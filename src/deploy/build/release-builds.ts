/** From a build that is over to a release that runs, with the last lines that the pusher sees. */
import { isGitwharfError } from "../../base/errors.js";
import type { App } from "../../database/app-store.js";
import type { Build } from "../../database/build-store.js";
import { isElsewhere } from "../state/elsewhere.js";
import type { NamedRelease } from "../state/launch-records.js";
import type { DeployState } from "../state/deploy-state.js";
import { pruneApp, type Retention } from "../state/prune.js";

export interface Launching {
  /** @property app the app's name */
  readonly release: NamedRelease;
  readonly app: App;
  /** Details, with a line feed; they are indented. */
  readonly print: (text: string) => Promise<void>;
  readonly signal: AbortSignal;
  /** Makes it the current one: to be called before another release of the app is launched. @default when it has been launched */
  readonly onLaunched: () => Promise<void>;
}

/**
 * Starts what a release runs, and lets requests through once it is healthy.
 * @returns where it answers @throws what the pusher is told; the release that ran goes on. base/shutting-down: it is launched
 * when the server starts again
 */
export type Launch = (launching: Launching) => Promise<{ readonly url?: string }>;

const BUILDS_LOOKED_AT = 20;

export interface ReleaseBuilds {
  /** A second time it is the same release, launched again if it was not. None where a later build has one that came up. */
  release(app: App, build: Build, print: (text: string) => Promise<void>, signal: AbortSignal): Promise<void>;
}

export interface ReleaseBuildsOptions {
  readonly state: DeployState;
  /** Without it a release is current as soon as it is made, as is one that another platform launches. */
  readonly launch?: Launch;
  readonly retention: Retention;
  /** Told of each release that was launched, or was not; does its work later, and does not throw. */
  readonly onEnded: (ended: EndedRelease) => void;
  readonly log: (text: string, error?: unknown) => void;
}

export interface EndedRelease {
  readonly release: NamedRelease;
  readonly outcome: "launched" | "failed";
  /** Empty when it was launched. */
  readonly reason: string;
  readonly milliseconds: number;
}

export function createReleaseBuilds(options: ReleaseBuildsOptions): ReleaseBuilds {
  const { state, launch, retention, onEnded, log } = options;
  const prune = async (app: App): Promise<void> => {
    try {
      await pruneApp(state, app.id, retention);
    } catch (error) {
      log(`old slugs of ${app.name} cannot be removed`, error);
    }
  };
  return {
    async release(app, build, print, signal) {
      const notReleased = `\n !     Not released: what was built after ${build.commit.slice(0, 7)} has been.\n\n`;
      const before = await state.releases.ofBuild(build.id);
      if ((before === undefined || before.status === "created") && (await isOvertaken(state, build))) {
        await print(notReleased);
        return;
      }
      const release = await state.releaseBuild(app, build);
      if (release.status === "failed") {
        await print(
          `\n !     Release v${release.number} failed: ${build.reason || `the build ${build.status}`}.\n\n`,
        );
        return;
      }
      if (release.status !== "created") return;
      const named: NamedRelease = { ...release, app: app.name };
      const begun = performance.now();
      const ended = (outcome: EndedRelease["outcome"], reason: string): void =>
        onEnded({ release: named, outcome, reason, milliseconds: performance.now() - begun });
      let isCurrent = false;
      const onLaunched = async (): Promise<void> => {
        isCurrent = true;
        await state.releases.setStatus(release.id, "current");
      };
      if (isElsewhere(release)) {
        await onLaunched();
        ended("launched", "");
        await print(`-----> v${release.number}: built and launched by the platform of its dyno\n\n`);
        await prune(app);
        return;
      }
      await print(`-----> Releasing v${release.number}\n`);
      // He may have held this up, too.
      if (await isOvertaken(state, build)) {
        await state.releases.setStatus(release.id, "failed");
        ended("failed", "what was built after it was released before it");
        await print(notReleased);
        return;
      }
      try {
        const { url } = (await launch?.({
          release: named,
          app,
          print: (text) => print(text.replace(/^(?=.)/gm, "       ")),
          signal,
          onLaunched,
        })) ?? { url: undefined };
        if (!isCurrent) await onLaunched();
        ended("launched", "");
        await print(`-----> Launching... done, v${release.number}\n`);
        if (url !== undefined) await print(`       ${url} deployed to gitwharf\n`);
        await print("\n");
      } catch (error) {
        // It runs; only who pushed it was not told.
        if (isCurrent) throw error;
        if (isGitwharfError(error, "base/shutting-down")) {
          await print(
            `\n !     The server is stopping: v${release.number} is launched when it starts again.\n\n`,
          );
          return;
        }
        const goesOn =
          (await state.releases.current(app.id)) === undefined ? "" : "What ran before goes on; ";
        await state.releases.setStatus(release.id, "failed");
        ended("failed", messageOf(error));
        log(`v${release.number} of ${app.name} could not be launched`, error);
        await print(
          `\n !     v${release.number} could not be launched: ${messageOf(error)}\n` +
            ` !     ${goesOn}\`gitwharf logs ${app.name}\` has what it printed.\n\n`,
        );
      }
      await prune(app);
    },
  };
}

/**
 * Is a later build released, or about to be? A pusher who did not read may have held up what comes after his build, while
 * others' went on.
 */
export async function isOvertaken({ builds, releases }: DeployState, build: Build): Promise<boolean> {
  const newest = await builds.list(build.app, BUILDS_LOOKED_AT);
  for (const later of newest.filter(({ position }) => position > build.position)) {
    const release = await releases.ofBuild(later.id);
    if (release !== undefined && release.status !== "failed") return true;
  }
  return false;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
