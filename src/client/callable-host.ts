/**
 * Hosts that somebody who is not trusted has named: every address that a name has is looked at, once, and connections go to
 * those that were looked at. What may be called is `base/address-guard.ts`'s to say.
 */
import { lookup as lookUp } from "node:dns/promises";
import { isIP, type LookupFunction } from "node:net";
import type { IsCallable } from "../base/address-guard.js";
import { GitwharfError } from "../base/errors.js";
import { RemoteGitFailure } from "./remote-git-failure.js";

export type ResolveHost = (host: string) => Promise<readonly string[]>;

/**
 * @param isCallable undefined: all are
 * @returns what leads to its addresses alone; undefined: the system's own
 * @throws client/not-callable, RemoteGitFailure when it has none
 */
export async function lookupFor(
  url: URL,
  isCallable: IsCallable | undefined,
  resolve: ResolveHost = resolveAll,
): Promise<LookupFunction | undefined> {
  if (isCallable === undefined) return undefined;
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const addresses = isIP(host) === 0 ? await resolve(host) : [host];
  if (addresses.length === 0)
    throw new RemoteGitFailure("the other side's host has no address", { kind: "gone" });
  // One good one among bad ones is what somebody who plays with names would have.
  if (!addresses.every(isCallable))
    throw new GitwharfError(
      "client/not-callable",
      `${url.origin} has an address that may not be called: allowAddresses says which may`,
    );
  const found = addresses.map((address) => ({ address, family: isIP(address) }));
  return (_host, options, done) => {
    if (options.all === true) done(null, found);
    else done(null, found[0]?.address ?? "", found[0]?.family);
  };
}

async function resolveAll(host: string): Promise<readonly string[]> {
  try {
    return (await lookUp(host, { all: true, verbatim: true })).map(({ address }) => address);
  } catch (cause) {
    throw new RemoteGitFailure("the other side's host has no address", { kind: "gone", cause });
  }
}
