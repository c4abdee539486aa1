/**
 * Releases and formations by the name of their app, as launching reads and writes them; and what makes a release without a
 * build: a changed configuration, the copy of an old one.
 */
import { access } from "node:fs/promises";
import type { App } from "../../database/app-store.js";
import type { Release } from "../../database/release-store.js";
import { GitwharfError } from "../../base/errors.js";
import { checkVariable } from "./app-rules.js";
import type { DeployState } from "./deploy-state.js";

/** @property app the app's name */
export type NamedRelease = Omit<Release, "app"> & { readonly app: string };

export function createLaunchRecords(state: DeployState) {
  const { apps, releases } = state;
  const appCalled = async (name: string): Promise<App> => {
    const app = await apps.find(name);
    if (app === undefined) throw new GitwharfError("storage/not-found", `there is no app called ${name}`);
    return app;
  };
  const named = (app: App, release: Release): NamedRelease => ({ ...release, app: app.name });
  return {
    async listApps(): Promise<readonly string[]> {
      return (await apps.list()).map(({ name }) => name);
    },
    async listReleases(name: string, max: number): Promise<readonly NamedRelease[]> {
      const app = await appCalled(name);
      return (await releases.list(app.id, max)).map((release) => named(app, release));
    },
    async currentRelease(name: string): Promise<NamedRelease | undefined> {
      const app = await appCalled(name);
      const release = await releases.current(app.id);
      return release === undefined ? undefined : named(app, release);
    },
    async formationOf(name: string): Promise<Readonly<Record<string, number>> | undefined> {
      return (await appCalled(name)).formation;
    },
    async setFormation(name: string, formation: Readonly<Record<string, number>>): Promise<void> {
      await apps.setFormation((await appCalled(name)).id, formation);
    },
    async configOf(name: string): Promise<Readonly<Record<string, string>>> {
      return apps.config((await appCalled(name)).id);
    },
    async changeConfig(
      name: string,
      changes: Readonly<Record<string, string | null>>,
      by: string | undefined,
    ): Promise<NamedRelease | undefined> {
      const app = await appCalled(name);
      // All or none.
      for (const [variable, value] of Object.entries(changes)) checkVariable(variable, value ?? "");
      for (const [variable, value] of Object.entries(changes)) {
        if (value === null) await apps.unsetConfig(app.id, variable);
        else await apps.setConfig(app.id, variable, value);
      }
      const current = await releases.current(app.id);
      if (current === undefined) return undefined;
      const release = await releases.add({
        ...copied(current),
        config: await apps.config(app.id),
        description: describeChanges(changes),
        createdBy: by ?? "",
      });
      return named(app, release);
    },
    async copyRelease(
      name: string,
      number: number,
      by: string | undefined,
    ): Promise<NamedRelease | undefined> {
      const app = await appCalled(name);
      const old = await releases.find(app.id, number);
      if (old === undefined || old.slugPath === "" || !HAVE_RUN.has(old.status)) return undefined;
      await checkSlug(old);
      const release = await releases.add({
        ...copied(old),
        description: `Rollback to v${number}`,
        createdBy: by ?? "",
      });
      return named(app, release);
    },
    async unfinishedRelease(name: string): Promise<NamedRelease | undefined> {
      const app = await appCalled(name);
      const [newest] = await releases.list(app.id, 1);
      const isOne = newest?.status === "created" && newest.buildId === undefined;
      return isOne ? named(app, newest) : undefined;
    },
    async settleRelease(id: string, outcome: "launched" | "failed"): Promise<void> {
      await releases.setStatus(id, outcome === "launched" ? "current" : "failed");
    },
  };
}

const HAVE_RUN: ReadonlySet<Release["status"]> = new Set(["current", "replaced"]);

async function checkSlug({ number, slugPath }: Release): Promise<void> {
  try {
    await access(slugPath);
  } catch (cause) {
    const message = `the files of v${number} are kept no longer; push its commit again`;
    throw new GitwharfError("storage/not-found", message, { cause });
  }
}

/** A build has one release; its copies are of no build. */
function copied({ app, commit, slugPath, processTypes, config }: Release) {
  return { app, commit, buildId: undefined, slugPath, processTypes, config, status: "created" } as const;
}

/** Names only: values are secrets. */
function describeChanges(changes: Readonly<Record<string, string | null>>): string {
  const names = (isSet: boolean): string =>
    Object.keys(changes)
      .filter((name) => (changes[name] !== null) === isSet)
      .join(", ");
  return [
    ["Set", names(true)],
    ["Remove", names(false)],
  ]
    .filter(([, list]) => list !== "")
    .map((words) => words.join(" "))
    .join("; ");
}
