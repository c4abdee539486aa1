/** Apps, builds and releases: the same on SQLite and on PostgreSQL; a queue whose builders may die. */
import { randomUUID } from "node:crypto";
import { beforeEach, describe, expect, it } from "vitest";
import { type App, type AppStore, createAppStore } from "../src/database/app-store.js";
import { type Build, type BuildStore, createBuildStore, type NewBuild } from "../src/database/build-store.js";
import { type Database, openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import { createReleaseStore, type NewRelease, type ReleaseStore } from "../src/database/release-store.js";
import { databaseEngines } from "./support/database-engines.js";

const LEASE_MS = 60_000;
const A = "a".repeat(40);
const B = "b".repeat(40);
const C = "c".repeat(40);

describe.each(databaseEngines())("on $name", ({ isSkipped, create }) => {
  let database: Database;
  let apps: AppStore;
  let builds: BuildStore;
  let releases: ReleaseStore;
  let app: App;
  let location: string;

  beforeEach(async ({ skip }) => {
    if (isSkipped) skip();
    location = await create();
    database = await openDatabase(parseDatabaseLocation(location));
    apps = createAppStore(database);
    builds = createBuildStore(database);
    releases = createReleaseStore(database);
    app = await addApp("shop");
    return () => database.close();
  });

  async function addApp(called: string): Promise<App> {
    const added = await apps.add({ name: called, repository: called, branch: "main", createdBy: "ada" });
    if (added === "taken") throw new Error("taken");
    return added;
  }
  const newBuild = (commit: string, more: Partial<NewBuild> = {}): NewBuild => ({
    id: randomUUID(),
    app: app.id,
    commit,
    refName: "refs/heads/main",
    place: "here",
    configDigest: "",
    createdBy: "ada",
    leaseMs: LEASE_MS,
    ...more,
  });
  const enqueue = async (commit: string, more: Partial<NewBuild> = {}): Promise<Build> =>
    (await builds.enqueue(newBuild(commit, more))).build;
  const product = {
    slugPath: "/x.tar",
    slugBytes: 1,
    processTypes: { web: "x" },
    config: {},
    framework: "x",
  };

  it("keeps apps, one of a name and one of a repository", async () => {
    expect(await apps.find("shop")).toEqual(app);
    expect(await apps.findByRepository("shop")).toEqual(app);
    expect(await apps.add({ name: "shop", repository: "x", branch: "main", createdBy: "" })).toBe("taken");
    expect(await apps.add({ name: "x", repository: "shop", branch: "main", createdBy: "" })).toBe("taken");
    await apps.setConfig(app.id, "B", "1");
    await apps.setConfig(app.id, "A", "2");
    await apps.setConfig(app.id, "B", "3");
    await apps.setConfigDefault(app.id, "B", "4");
    await apps.setConfigDefault(app.id, "C", "5");
    expect(await apps.config(app.id)).toEqual({ A: "2", B: "3", C: "5" });
    expect(await apps.unsetConfig(app.id, "A")).toBe(true);
    expect(await apps.unsetConfig(app.id, "A")).toBe(false);
    await apps.setFormation(app.id, { web: 2 });
    expect((await apps.find("shop"))?.formation).toEqual({ web: 2 });
    await enqueue(A);
    expect(await apps.remove(app.id)).toBe(true);
    expect(await apps.list()).toEqual([]);
    expect(await builds.list(app.id)).toEqual([]);
  });

  it("queues a commit once, and again when it is over", async () => {
    const first = await builds.enqueue(newBuild(A));
    expect(first).toMatchObject({ isNew: true, build: { attempt: 1, status: "queued" } });
    const again = await builds.enqueue(newBuild(A));
    expect(again).toMatchObject({ isNew: false, build: { id: first.build.id } });
    expect(await builds.cancel(first.build.id, "no")).toBe("cancelled");
    expect(await builds.cancel(first.build.id, "no")).toBe("over");
    expect(await builds.enqueue(newBuild(A))).toMatchObject({ isNew: true, build: { attempt: 2 } });
    expect(await builds.find(first.build.id)).toMatchObject({ status: "cancelled", reason: "no" });
  });

  it("gives one place in the queue to each of many who come at once, and one job to the same commit", async () => {
    const other = await openDatabase(parseDatabaseLocation(location));
    try {
      const stores = [builds, createBuildStore(other)];
      const commits = Array.from({ length: 10 }, (_, i) => String(i).repeat(40));
      const queued = await Promise.all(
        [...commits, ...commits].map((commit, i) => (stores[i % 2] as BuildStore).enqueue(newBuild(commit))),
      );
      expect(queued.filter(({ isNew }) => isNew)).toHaveLength(10);
      expect(new Set(queued.map(({ build }) => build.position)).size).toBe(10);
    } finally {
      await other.close();
    }
  });

  it("hands out one build of an app at a time, in order, and those of other apps beside it", async () => {
    const first = await enqueue(A);
    const second = await enqueue(B);
    const blog = await addApp("blog");
    const foreign = await enqueue(C, { app: blog.id });
    expect((await builds.before(second)).map(({ id }) => id)).toEqual([first.id]);
    expect((await builds.claim("here", "o1", LEASE_MS))?.id).toBe(first.id);
    expect((await builds.claim("here", "o2", LEASE_MS))?.id).toBe(foreign.id);
    expect(await builds.claim("here", "o2", LEASE_MS)).toBeUndefined();
    expect(await builds.finish(first.id, "o2", { status: "failed", reason: "x" })).toBe(false);
    expect(await builds.finish(first.id, "o1", { status: "succeeded", product })).toBe(true);
    expect(await builds.find(first.id)).toMatchObject({ status: "succeeded", product });
    expect((await builds.claim("here", "o2", LEASE_MS))?.id).toBe(second.id);
  });

  it("gives a build to one of many builders", async () => {
    await enqueue(A);
    await enqueue(B);
    const other = await openDatabase(parseDatabaseLocation(location));
    try {
      const stores = [builds, createBuildStore(other)];
      const claimed = await Promise.all(
        Array.from({ length: 10 }, (_, i) => (stores[i % 2] as BuildStore).claim("here", `o${i}`, LEASE_MS)),
      );
      expect(claimed.filter((build) => build !== undefined)).toHaveLength(1);
    } finally {
      await other.close();
    }
  });

  it("leaves builds of another place alone", async () => {
    await enqueue(A, { place: "elsewhere" });
    expect(await builds.claim("here", "o1", LEASE_MS)).toBeUndefined();
    expect((await builds.claim("elsewhere", "o1", LEASE_MS))?.commit).toBe(A);
  });

  it("takes a build from a builder that died, and gives up after three", async () => {
    const build = await enqueue(A);
    await enqueue(B);
    for (let claims = 1; claims <= 3; claims++) {
      // A lease that is over as soon as it begins.
      expect(await builds.claim("here", `o${claims}`, -1)).toMatchObject({ id: build.id, claims });
      await builds.settleExpired(3, LEASE_MS);
      expect(await builds.renew(build.id, `o${claims}`, LEASE_MS)).toBe("lost");
    }
    expect(await builds.find(build.id)).toMatchObject({
      status: "failed",
      reason: "its builder died, 3 times",
    });
    expect((await builds.claim("here", "o4", LEASE_MS))?.commit).toBe(B);
  });

  it("keeps a build that is renewed, and one that is given back where it was", async () => {
    const build = await enqueue(A);
    await enqueue(B);
    await builds.claim("here", "o1", -1);
    expect(await builds.renew(build.id, "o1", LEASE_MS)).toBe("renewed");
    expect(await builds.settleExpired(3, LEASE_MS)).toBe(0);
    await builds.giveBack(build.id, "o1", LEASE_MS);
    expect(await builds.claim("here", "o2", LEASE_MS)).toMatchObject({ id: build.id, claims: 1 });
  });

  it("does not wait for a place that is gone", async () => {
    const gone = await enqueue(A, { place: "elsewhere", leaseMs: -1 });
    const kept = await enqueue(B, { leaseMs: -1 });
    await builds.keepPlace("here", LEASE_MS);
    expect(await builds.settleExpired(3, LEASE_MS)).toBe(1);
    expect(await builds.find(gone.id)).toMatchObject({ status: "failed", reason: "its builder has gone" });
    expect((await builds.claim("here", "o1", LEASE_MS))?.id).toBe(kept.id);
  });

  it("tells the builder of a cancelled build, or ends it when he died", async () => {
    const build = await enqueue(A);
    await builds.claim("here", "o1", LEASE_MS);
    expect(await builds.cancel(build.id, "no more")).toBe("asked");
    expect(await builds.renew(build.id, "o1", -1)).toBe("cancel");
    await builds.settleExpired(3, LEASE_MS);
    expect((await builds.find(build.id))?.status).toBe("cancelled");
  });

  it("cancels what waits, and leaves what has begun", async () => {
    const begun = await enqueue(A);
    const waiting = await enqueue(B);
    await builds.claim("here", "o1", LEASE_MS);
    expect(await builds.cancelWaiting(begun.id, "left")).toBe(false);
    expect(await builds.renew(begun.id, "o1", LEASE_MS)).toBe("renewed");
    expect(await builds.cancelWaiting(waiting.id, "left")).toBe(true);
    expect(await builds.find(waiting.id)).toMatchObject({ status: "cancelled", reason: "left" });
    expect(await builds.cancelWaiting(waiting.id, "again")).toBe(false);
  });

  it("supersedes what waits on the same ref, not what has begun", async () => {
    const running = await enqueue(A);
    await builds.claim("here", "o1", LEASE_MS);
    const waiting = await enqueue(B);
    const newer = await enqueue(C);
    expect(await builds.supersede(newer)).toBe(1);
    expect((await builds.find(running.id))?.status).toBe("running");
    expect(await builds.find(waiting.id)).toMatchObject({
      status: "superseded",
      reason: "ccccccc was pushed after it",
    });
    expect((await builds.find(newer.id))?.status).toBe("queued");
  });

  it("numbers releases without gaps, one for each build, one of them current", async () => {
    const release: NewRelease = {
      app: app.id,
      commit: A,
      buildId: undefined,
      slugPath: "/x.tar",
      processTypes: { web: "node ." },
      config: { A: "b" },
      status: "created",
      description: "Deploy",
      createdBy: "ada",
    };
    const all = await Promise.all(Array.from({ length: 10 }, () => releases.add(release)));
    expect(all.map(({ number }) => number).toSorted((a, b) => a - b)).toEqual([
      1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
    ]);
    const build = await enqueue(A);
    const [one, two] = await Promise.all([
      releases.add({ ...release, buildId: build.id }),
      releases.add({ ...release, buildId: build.id }),
    ]);
    expect(one?.id).toBe(two?.id);
    expect(await releases.ofBuild(build.id)).toMatchObject({ number: 11 });

    expect(await releases.current(app.id)).toBeUndefined();
    const first = await releases.find(app.id, 1);
    const second = await releases.find(app.id, 2);
    await releases.setStatus(first?.id ?? "", "current");
    await releases.setStatus(second?.id ?? "", "current");
    expect((await releases.current(app.id))?.number).toBe(2);
    expect((await releases.find(app.id, 1))?.status).toBe("replaced");
    expect((await releases.find(app.id, 3))?.status).toBe("created");
    expect((await releases.list(app.id, 3)).map(({ number }) => number)).toEqual([11, 10, 9]);
    expect(second).toMatchObject({ processTypes: { web: "node ." }, config: { A: "b" } });
  });
});
