/** A list of addresses and networks that are trusted with something: proxies, balancers. */
import { compile } from "proxy-addr";
import { GitwharfError } from "../base/errors.js";

export type IsListedAddress = (address: string) => boolean;

/**
 * @param addresses `10.0.0.5`, `10.0.0.0/8`, `::1`, or the names `loopback`, `linklocal`, `uniquelocal`
 * @throws server/bad-configuration
 */
export function compileAddresses(addresses: readonly string[]): IsListedAddress {
  try {
    const isListed = compile([...addresses]);
    return (address) => isListed(address, 0);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new GitwharfError(
      "server/bad-configuration",
      `the list of trusted proxies cannot be read: ${why}`,
      { cause },
    );
  }
}
