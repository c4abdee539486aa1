/** The options `bundleUris` and `packfileUris`. */
import { GitwharfError } from "../base/errors.js";

export interface BundleUriOptions {
  /** Of a repository whose packs have fewer bytes together none is made; packs of fewer are sent. @default 16 MiB */
  readonly sizeBytesMin?: number;
  /** For how long an address of the bucket is good that a client is told, at most a day. @default 3600 */
  readonly lifetimeSeconds?: number;
}

const LIFETIME_SECONDS_MAX = 24 * 60 * 60;

/** @throws server/bad-configuration */
export function bundleUrisOf(
  option: boolean | BundleUriOptions | undefined,
  name: "bundleUris" | "packfileUris" = "bundleUris",
): Required<BundleUriOptions> | undefined {
  if (option === undefined || option === false) return undefined;
  const wrong = (what: string): GitwharfError =>
    new GitwharfError("server/bad-configuration", `${name} is ${what}`);
  const given: unknown = option === true ? {} : option;
  if (typeof given !== "object" || given === null) throw wrong("true or false, or an object");
  const unknown = Object.keys(given).find((key) => key !== "sizeBytesMin" && key !== "lifetimeSeconds");
  if (unknown !== undefined) throw wrong(`an object with sizeBytesMin and lifetimeSeconds, not '${unknown}'`);
  const { sizeBytesMin = 16 * 1024 * 1024, lifetimeSeconds = 3600 }: BundleUriOptions = given;
  if (!Number.isSafeInteger(sizeBytesMin) || sizeBytesMin < 0)
    throw wrong("an object whose sizeBytesMin is a number of bytes");
  if (!Number.isSafeInteger(lifetimeSeconds) || lifetimeSeconds < 1 || lifetimeSeconds > LIFETIME_SECONDS_MAX)
    throw wrong(`an object whose lifetimeSeconds is a number from 1 to ${LIFETIME_SECONDS_MAX}`);
  return { sizeBytesMin, lifetimeSeconds };
}
