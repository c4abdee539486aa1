/** Our own Git client at an upstream or a fork. Credentials go to the forge's host, and what it calls itself goes nowhere. */
import { isGitwharfError } from "../../base/errors.js";
import type { HttpTransportOptions } from "../../client/http-transport.js";
import { openRemote, type RemoteRepository } from "../../client/remote-repository.js";
import type { Forge, GitCredentials } from "../forges/forge.js";
import type { GatewayLimits } from "../gateway-options.js";
import type { Upstream } from "./find-upstream.js";

export interface OpenForPush {
  readonly signal: AbortSignal;
  readonly limits: GatewayLimits;
  readonly allowAddresses: readonly string[];
}

export function remoteAt(
  cloneUrl: string,
  credentials: GitCredentials | undefined,
  { signal, limits, allowAddresses }: OpenForPush,
): RemoteRepository {
  return openRemote(cloneUrl, {
    ...transportOptions({ allowAddresses, signal, credentials }),
    refsBytesMax: limits.refsBytesMax,
  });
}

/** Anybody may read it; our credentials only make the forge more patient. */
export async function openUpstream(
  { forge, repository, allowAddresses }: Upstream,
  { signal, limits }: Pick<OpenForPush, "signal" | "limits">,
): Promise<RemoteRepository> {
  const credentials = await readingCredentials(forge, signal);
  return remoteAt(repository.cloneUrl, credentials, { signal, limits, allowAddresses });
}

/** @returns undefined as well where all accounts rest */
export async function readingCredentials(
  forge: Forge,
  signal: AbortSignal,
): Promise<GitCredentials | undefined> {
  try {
    return await forge.gitCredentials({ signal });
  } catch (error) {
    if (isGitwharfError(error, "forge/exhausted")) return undefined;
    throw error;
  }
}

export function transportOptions(about: {
  readonly allowAddresses: readonly string[];
  readonly signal: AbortSignal;
  readonly credentials: GitCredentials | undefined;
}): HttpTransportOptions {
  const { allowAddresses, signal, credentials } = about;
  return { allowAddresses, signal, ...(credentials === undefined ? {} : { credentials }) };
}
