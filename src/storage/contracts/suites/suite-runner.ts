/**
 * How a contract suite is run: with the functions of whatever test framework the backend uses.
 *
 * ```ts
 * import { describe, it } from "vitest"; // or node:test, mocha, jest …
 * import { repositorySuite, repositoryStoreSuite } from "gitwharf/storage-contract-suites";
 *
 * const backend = {
 *   name: "my backend",
 *   async open() {
 *     const store = await createMyStore();
 *     return { store, reopen: async () => store, dispose: () => store.close() };
 *   },
 * };
 * repositoryStoreSuite({ describe, it }, backend);
 * repositorySuite({ describe, it }, backend, { objectFormat: "sha256" });
 * ```
 *
 * Suites assert with `node:assert`: a failure is a rejected promise, which every framework understands.
 */
import type { RepositoryStore } from "../repository.js";

export interface SuiteRunner {
  describe(title: string, body: () => void): unknown;
  it(title: string, body: () => Promise<void>): unknown;
}

export interface StoreBackend {
  /** Appears in the titles. */
  readonly name: string;
  /** An empty store for one test. */
  open(): Promise<OpenedStore>;
}

export interface OpenedStore {
  readonly store: RepositoryStore;
  /**
   * A second store over the same repositories, as another process has it. A backend whose repositories live in the
   * store object itself answers with the same store.
   */
  reopen(): Promise<RepositoryStore>;
  /** Closes the stores and removes what the test left. */
  dispose(): Promise<void>;
}

/** Runs a body on a store of its own. */
export async function withStore(
  backend: StoreBackend,
  body: (opened: OpenedStore) => Promise<void>,
): Promise<void> {
  const opened = await backend.open();
  try {
    await body(opened);
  } finally {
    await opened.dispose();
  }
}
