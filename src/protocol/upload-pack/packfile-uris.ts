/**
 * `packfile-uris`: a pack of which everything is to be sent may be had from where it is stored, by an address that is good
 * for a while. What is in it is reachable from what the caller asked for and may have.
 * Specification: gitprotocol-v2 "fetch", technical/packfile-uri.
 */
import type { Pack } from "../../pack/pack.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import type { FetchRequest } from "../wire/fetch-request.js";
import type { UploadPackContext } from "./upload-pack-context.js";

export interface PackAddress {
  readonly pack: Pack;
  readonly uri: string;
}

/** By the keys of packs; the client has asked for addresses by one of these protocols. @throws storage/io */
export async function packAddresses({
  context,
  snapshot,
  request,
}: {
  readonly context: UploadPackContext;
  readonly snapshot: Snapshot;
  readonly request: FetchRequest;
}): Promise<ReadonlyMap<string, PackAddress>> {
  const { packfileUris, repository } = context;
  const addresses = new Map<string, PackAddress>();
  if (packfileUris === undefined || request.uriProtocols.size === 0) return addresses;
  for (const pack of snapshot.objects.packs) {
    if (pack.bytes.sizeBytes < packfileUris.sizeBytesMin) continue;
    const uri = await repository.addressOfPack?.(pack, packfileUris.lifetimeSeconds);
    const protocol = uri?.slice(0, uri.indexOf(":")) ?? "";
    if (uri !== undefined && request.uriProtocols.has(protocol)) addresses.set(pack.key, { pack, uri });
  }
  return addresses;
}

/** A line for each pack that a plan leaves out: the hash at its end, and where it is. */
export function formatPackAddresses(
  elsewhere: readonly string[],
  addresses: ReadonlyMap<string, PackAddress>,
): readonly string[] {
  return elsewhere.flatMap((key) => {
    const address = addresses.get(key);
    return address === undefined ? [] : [`${address.pack.index.packTrailer} ${address.uri}\n`];
  });
}
