/**
 * An object store beside a bucket in which each object has a key of its own. That one is asked in this process, without a
 * server and without anything kept on the local disk, so that it is always cold.
 */
import { dirname, join } from "node:path";
import { createDiskRepositoryStore } from "../../src/storage/disk/disk-repository-store.js";
import { git } from "../data.js";
import { fetchPack, listRefs, push, type Remote } from "../raw-client.js";
import { pushAll } from "./compare.js";
import { bytes, count, type Figures, medianOf, milliseconds, ratio, type Table } from "./figures.js";
import type { Ground } from "./ground.js";
import { type History, type HistorySize, makeHistory } from "./history.js";
import { type MeasuredBucket, openMeasuredBucket } from "./measured-bucket.js";
import { ObjectPerKey, type PlainObject } from "./object-per-key.js";
import { type Served, startServed } from "./served.js";

const ROUNDS: Readonly<Record<HistorySize, number>> = { small: 3, large: 1 };
const FORK_STOPS_AFTER_MS = 30_000;

interface Measured {
  readonly ours: Figures[];
  readonly keys: Figures[];
}

export async function compareKeys(ground: Ground, size: HistorySize): Promise<readonly Table[]> {
  const { work } = ground;
  const history = makeHistory(work, size);
  const served = await startServed({
    kind: "object store",
    place: ground.place("compare"),
    database: await ground.createDatabase(),
    localDirectory: join(work, "local"),
  });
  const measured = await openMeasuredBucket(ground.place("keys"));
  try {
    const works = new Map<string, Measured>();
    for (let round = 0; round < ROUNDS[size]; round++)
      await compareOnce({ served, measured, history, works, round });
    return [tableOf(works, history)];
  } finally {
    await served.close();
    await measured.bucket.close();
  }
}

async function compareOnce(about: {
  readonly served: Served;
  readonly measured: MeasuredBucket;
  readonly history: History;
  readonly works: Map<string, Measured>;
  readonly round: number;
}): Promise<void> {
  const { served, measured, history, works, round } = about;
  const { path, tip, before } = history;
  const name = `app-${round}`;
  const other = `other-${round}`;
  const keys = new ObjectPerKey(measured.bucket, name);
  const first = oidsOf(path, before);
  const last = oidsOf(path, tip, `^${before}`);
  const note = (work: string, ours: Figures | undefined, theirs: Figures): void => {
    const all = works.get(work) ?? { ours: [], keys: [] };
    works.set(work, all);
    if (ours !== undefined) all.ours.push(ours);
    all.keys.push(theirs);
    console.log(`${work}: ${milliseconds(ours?.wallMs)}, one key an object ${milliseconds(theirs.wallMs)}`);
  };
  /** First of another repository of the same kind, so that the process has run before. */
  const cold = async (act: (remote: Remote) => Promise<unknown>): Promise<Figures> => {
    await served.restart();
    await act(served.remote(other));
    return served.measure(() => act(served.remote(name)));
  };
  const inProcess = async (act: () => Promise<unknown>): Promise<Figures> => {
    measured.begin();
    const cpu = process.cpuUsage();
    const begun = performance.now();
    await act();
    const wallMs = performance.now() - begun;
    const { user, system } = process.cpuUsage(cpu);
    return { wallMs, cpuMs: (user + system) / 1000, bucket: measured.figures() };
  };

  for (const each of [name, other]) await served.create(each);
  const all = await cold((remote) => pushAll(remote, history));
  note("push of everything", all, await inProcess(() => keys.put(objectsOf(path, first))));
  const change = { name: "refs/heads/main", oldOid: before, newOid: tip, pack: history.lastPack };
  const one = await cold((remote) => push(remote, change));
  note("push of one commit", one, await inProcess(() => keys.put(objectsOf(path, last))));
  const fetched = await cold((remote) => fetchPack(remote, [tip], [before]));
  note("fetch of one commit", fetched, await inProcess(() => keys.fetchCommit(tip)));
  const cloned = await cold(async (remote) => {
    const wants = (await listRefs(remote)).map(({ oid }) => oid);
    await fetchPack(remote, wants, []);
  });
  note("clone", cloned, await inProcess(() => keys.clone(tip)));
  const forked = await served.fork(name, `fork-${round}`);
  const oids = [...first, ...last];
  let copied = 0;
  const copying = await inProcess(async () => {
    copied = await keys.copyTo(`fork-${round}`, oids, FORK_STOPS_AFTER_MS);
  });
  const work =
    copied === oids.length
      ? "fork"
      : `fork (only ${count(copied)} of ${count(oids.length)} keys were copied)`;
  note(work, forked, copying);
}

function oidsOf(path: string, ...revisions: readonly string[]): readonly string[] {
  return git(path, "rev-list", "--objects", "--no-object-names", ...revisions).split("\n");
}

async function* objectsOf(path: string, oids: readonly string[]): AsyncGenerator<PlainObject> {
  const store = createDiskRepositoryStore({ directory: dirname(path) });
  const repository = await store.open("generated");
  if (repository === undefined) throw new Error(`${path} is no repository`);
  const snapshot = await repository.snapshot();
  try {
    for (const oid of oids) {
      const object = await snapshot.objects.read(oid);
      if (object === undefined) throw new Error(`${oid} is missing`);
      yield { oid, ...object };
    }
  } finally {
    snapshot.release();
    await repository.close();
    await store.close();
  }
}

function tableOf(works: ReadonlyMap<string, Measured>, { objectCount }: History): Table {
  const figure = "object store";
  return {
    remarks: `${count(objectCount)} objects. "One key" is that other bucket; the server of the object store is cold, but has served another repository before. It has the packs as they were pushed.`,
    head: [
      "work",
      figure,
      "one key",
      "ratio",
      `CPU: ${figure}`,
      "one key",
      "ratio",
      `requests: ${figure}`,
      "one key",
      "ratio",
      `read: ${figure}`,
      "one key",
      `written: ${figure}`,
      "one key",
    ],
    rows: [...works].map(([work, all]) => {
      const ours = medianOf(all.ours);
      const keys = medianOf(all.keys);
      return [
        work,
        milliseconds(ours.wallMs),
        milliseconds(keys.wallMs),
        ratio(ours.wallMs, keys.wallMs),
        milliseconds(ours.cpuMs),
        milliseconds(keys.cpuMs),
        ratio(ours.cpuMs, keys.cpuMs),
        count(ours.bucket?.requests),
        count(keys.bucket?.requests),
        ratio(ours.bucket?.requests, keys.bucket?.requests),
        bytes(ours.bucket?.readBytes),
        bytes(keys.bucket?.readBytes),
        bytes(ours.bucket?.writtenBytes),
        bytes(keys.bucket?.writtenBytes),
      ];
    }),
  };
}
