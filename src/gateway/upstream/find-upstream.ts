/**
 * The forge and the repository behind an address of the gateway, remembered for a while: a clone is several requests. What
 * only our accounts may see is not there for anybody who comes by us.
 */
import { LRUCache } from "lru-cache";
import { GitwharfError } from "../../base/errors.js";
import { createForge } from "../forges/create-forge.js";
import type { Forge, UpstreamRepository } from "../forges/forge.js";
import { type ForgePlace, forgePlace, type ForgeSettings } from "../forges/forge-settings.js";
import { keyOfUpstream, type UpstreamAddress } from "../upstream-name.js";

export interface Upstream {
  readonly address: UpstreamAddress;
  readonly forge: Forge;
  /** For our own Git client; undefined: all. */
  readonly allowAddresses: readonly string[];
  readonly repository: UpstreamRepository;
}

export interface Upstreams {
  /** @throws storage/not-found, forge/…, base/aborted */
  find(address: UpstreamAddress, signal: AbortSignal): Promise<Upstream>;
  /** As the last answer of the forge may be wrong by now. */
  findAnew(address: UpstreamAddress, signal: AbortSignal): Promise<Upstream>;
  /** @throws storage/not-found */
  forgeOf(name: string, host: string): Promise<Forge>;
  allowAddressesOf(name: string, host: string): readonly string[];
}

const REMEMBERED_MAX = 10_000;

/** @throws server/bad-configuration */
export function createUpstreams(settings: readonly ForgeSettings[], ageMs: number): Upstreams {
  interface Known {
    readonly settings: ForgeSettings;
    readonly place: ForgePlace;
    forge: Promise<Forge> | undefined;
  }
  const known: readonly Known[] = settings.map((each) => ({
    settings: each,
    place: forgePlace(each),
    forge: undefined,
  }));
  const remembered = new LRUCache<string, UpstreamRepository>({ max: REMEMBERED_MAX, ttl: ageMs });
  const knownOf = (name: string, host: string): Known => {
    const one = known.find(
      ({ place }) => place.name === name && (name !== "gt" || place.host.toLowerCase() === host),
    );
    if (one !== undefined) return one;
    throw new GitwharfError(
      "storage/not-found",
      host === ""
        ? `this gateway does not serve the forge '${name}'`
        : "this gateway does not serve that host",
    );
  };
  const forgeOf = (name: string, host: string): Promise<Forge> => {
    const one = knownOf(name, host);
    // One that could not be loaded is loaded again.
    one.forge ??= createForge(one.settings).catch((error: unknown) => {
      one.forge = undefined;
      throw error;
    });
    return one.forge;
  };
  const findAnew: Upstreams["findAnew"] = async (address, signal) => {
    const { settings: own } = knownOf(address.forge, address.host);
    const forge = await forgeOf(address.forge, address.host);
    const repository = await forge.find(address, { signal });
    const key = keyOfUpstream(address);
    if (repository === undefined || repository.isPrivate) {
      remembered.delete(key);
      throw new GitwharfError(
        "storage/not-found",
        `there is no public repository ${address.owner}/${address.repo} on ${forge.host}`,
      );
    }
    remembered.set(key, repository);
    return { address, forge, repository, allowAddresses: own.allowAddresses ?? [] };
  };
  return {
    forgeOf,
    allowAddressesOf: (name, host) => knownOf(name, host).settings.allowAddresses ?? [],
    findAnew,
    async find(address, signal) {
      const repository = remembered.get(keyOfUpstream(address));
      if (repository === undefined) return findAnew(address, signal);
      const { settings: own } = knownOf(address.forge, address.host);
      const forge = await forgeOf(address.forge, address.host);
      return { address, forge, repository, allowAddresses: own.allowAddresses ?? [] };
    },
  };
}
