/** An object storage behind a server, for tests of what it can beside Git. */
import { join } from "node:path";
import { createGitServer } from "../../src/server/git-server.js";
import {
  type ObjectStorage,
  type ObjectStorageOptions,
  openObjectStorage,
} from "../../src/server/object-storage.js";
import type { TestStorages } from "./object-storages.js";

export interface ServedStorage {
  /** As it was opened. */
  readonly options: ObjectStorageOptions;
  readonly store: ObjectStorage;
  /** Names of repositories stand behind it; a push makes one. */
  readonly url: string;
  /** The server, then the storage. */
  readonly close: () => Promise<void>;
}

/** @param directory of the test; what the storage keeps locally is `local` in it */
export async function serveStorage(
  kind: TestStorages,
  directory: string,
  more: Partial<ObjectStorageOptions> = {},
): Promise<ServedStorage> {
  const options: ObjectStorageOptions = {
    ...(await kind.open(directory)),
    localDirectory: join(directory, "local"),
    ...more,
  };
  const store = await openObjectStorage(options);
  const server = createGitServer({ repositories: store, autoCreate: "push", log: () => undefined });
  const close = async (): Promise<void> => {
    await server.close({ graceMs: 0 });
    await store.close();
  };
  return { options, store, url: (await server.listen({ http: "127.0.0.1:0" })).http.url, close };
}
