/**
 * A gitwharf server over an object store or a directory, in a process of its own, so that the CPU time of the process is the
 * server's alone. Does one order after the other and answers each. Started with `fork`.
 *
 * What it would do in the background, folding packs, collecting garbage, witnesses and the janitor, is switched off: it
 * would be counted with whatever happens to be measured.
 */
import { openDatabase, parseDatabaseLocation } from "../../src/database/open-database.js";
import { collectGarbage } from "../../src/engine/maintenance/collect-garbage.js";
import { createGitServer } from "../../src/server/git-server.js";
import { createDiskRepositoryStore } from "../../src/storage/disk/disk-repository-store.js";
import type { RepositoryStore } from "../../src/storage/contracts/repository.js";
import { createMetadataStore } from "../../src/storage/object-store/metadata/create-metadata-store.js";
import { type ObjectStore, openObjectStore } from "../../src/storage/object-store/object-store.js";
import { DEFAULT_REPOSITORY_SETTINGS } from "../../src/storage/repository-settings-defaults.js";
import type { Figures } from "./figures.js";
import { type BucketPlace, type MeasuredBucket, openMeasuredBucket } from "./measured-bucket.js";

export type Storage =
  | {
      readonly kind: "object store";
      readonly place: BucketPlace;
      readonly database: string;
      /** For copies of what is in the bucket. */
      readonly localDirectory: string;
    }
  | { readonly kind: "disk"; readonly directory: string };

export type Order =
  | { readonly do: "open"; readonly storage: Storage }
  | { readonly do: "create" | "collect"; readonly name: string }
  | { readonly do: "fork"; readonly parent: string; readonly name: string }
  | { readonly do: "begin" | "end" | "close" };

/** `figures`: of what was done, or since "begin". */
export interface Answer {
  readonly url?: string;
  readonly figures?: Figures;
  readonly outcome?: string;
  readonly error?: string;
}

interface Opened {
  readonly url: string;
  readonly store: RepositoryStore;
  readonly objectStore: ObjectStore | undefined;
  readonly measured: MeasuredBucket | undefined;
  close(): Promise<void>;
}

const NEVER_BY_ITSELF = { ...DEFAULT_REPOSITORY_SETTINGS, gc: { auto: 0, autoPackLimit: 0 } };
let opened: Opened | undefined;
let begun: { readonly cpu: NodeJS.CpuUsage; readonly wallMs: number } | undefined;

process.on("message", (order: Order) => {
  obey(order).then(
    (answer) => process.send?.(answer),
    (error: unknown) =>
      process.send?.({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});
process.on("disconnect", () => process.exit());

async function obey(order: Order): Promise<Answer> {
  switch (order.do) {
    case "open":
      opened = await open(order.storage);
      return { url: opened.url };
    case "create":
      await (await using().store.create(order.name)).close();
      return {};
    case "fork": {
      const { objectStore } = using();
      return {
        figures: await figuresOf(async () => (await objectStore?.fork(order.parent, order.name))?.close()),
      };
    }
    case "collect": {
      let outcome = "";
      const figures = await figuresOf(async () => (outcome = await collect(order.name)));
      return { figures, outcome };
    }
    case "begin":
      begin();
      return {};
    case "end":
      return { figures: end() };
    case "close":
      await opened?.close();
      return {};
  }
}

async function open(storage: Storage): Promise<Opened> {
  if (storage.kind === "disk") {
    const store = createDiskRepositoryStore({ directory: storage.directory });
    return serve({ store, objectStore: undefined, measured: undefined });
  }
  const database = await openDatabase(parseDatabaseLocation(storage.database));
  const measured = await openMeasuredBucket(storage.place);
  const objectStore = await openObjectStore({
    bucket: measured.bucket,
    metadata: createMetadataStore(database),
    localDirectory: storage.localDirectory,
    settings: () => NEVER_BY_ITSELF,
    janitor: false,
  });
  return serve({ store: objectStore, objectStore, measured, closeFurther: () => database.close() });
}

async function serve(
  parts: Pick<Opened, "store" | "objectStore" | "measured"> & {
    readonly closeFurther?: () => Promise<void>;
  },
): Promise<Opened> {
  const server = createGitServer({ repositories: parts.store, log: () => undefined });
  const { http } = await server.listen({ http: "127.0.0.1:0" });
  return {
    ...parts,
    url: http.url,
    async close() {
      await server.close({ graceMs: 0 });
      await parts.store.close();
      await parts.closeFurther?.();
    },
  };
}

async function collect(name: string): Promise<string> {
  const repository = await using().store.open(name);
  const garbage = repository?.packMaintenance?.garbage;
  try {
    return garbage === undefined ? "nothing" : (await collectGarbage(garbage)).kind;
  } finally {
    await repository?.close();
  }
}

async function figuresOf(act: () => Promise<unknown>): Promise<Figures> {
  begin();
  await act();
  return end();
}

function begin(): void {
  using().measured?.begin();
  begun = { cpu: process.cpuUsage(), wallMs: performance.now() };
}

function end(): Figures {
  if (begun === undefined) throw new Error("nothing was begun");
  const { user, system } = process.cpuUsage(begun.cpu);
  return {
    wallMs: performance.now() - begun.wallMs,
    cpuMs: (user + system) / 1000,
    bucket: using().measured?.figures(),
  };
}

function using(): Opened {
  if (opened === undefined) throw new Error("nothing was opened");
  return opened;
}
