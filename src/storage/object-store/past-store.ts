/**
 * All repositories as they were at one time: a store to be read, for a server of its own. They are found by the names that they
 * have now; one that was made or forked later is not there.
 */
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import type { RepositoryStore } from "../contracts/repository.js";
import type { ObjectStore } from "./object-store.js";

/** The store stays its caller's to close. */
export function createPastStore(
  store: Pick<ObjectStore, "openAt" | "list" | "probe">,
  timeMs: number,
): RepositoryStore {
  const refuse = async (): Promise<never> => {
    throw new GitwharfError(
      "storage/read-only",
      `repositories as of ${new Date(timeMs).toISOString()} can be read only`,
    );
  };
  return {
    async open(name) {
      try {
        return await store.openAt(name, { timeMs });
      } catch (error) {
        if (isGitwharfError(error, "storage/not-found")) return undefined;
        throw error;
      }
    },
    create: refuse,
    prepare: refuse,
    delete: refuse,
    list: () => store.list(),
    probe: async () => store.probe?.(),
    close: async () => undefined,
  };
}
