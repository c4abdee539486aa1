/**
 * Whose address a request counts for: that of the connection, unless the connection is a listed proxy's; then what the
 * proxy has written into X-Forwarded-For. The header is read from its end, because only what listed proxies have added
 * is true: what stands before that came from the client, who may write what he likes.
 */
import ipaddr from "ipaddr.js";
import { compileAddresses } from "./trusted-addresses.js";

export type ClientAddressOf = (
  /** At the other end of the connection. */
  peer: string | undefined,
  /** Every X-Forwarded-For of the request, in order. */
  forwardedFor: readonly string[],
) => string | undefined;

/** More proxies than anybody has in a row. */
const HOPS_MAX = 32;

/** @throws server/bad-configuration */
export function createClientAddress(trustedProxies: readonly string[]): ClientAddressOf {
  if (trustedProxies.length === 0) return (peer) => (peer === undefined ? undefined : plainAddress(peer));
  const isTrusted = compileAddresses(trustedProxies);
  return (peer, forwardedFor) => {
    const first = peer === undefined ? undefined : plainAddress(peer);
    if (first === undefined) return peer;
    let address = first;
    const hops = forwardedFor.join(",").split(",").slice(-HOPS_MAX);
    while (hops.length > 0 && isTrusted(address)) {
      const next = forwardedAddress(hops.pop() ?? "");
      // Whatever this is, no listed proxy has written it: the one that let it pass answers for it.
      if (next === undefined) return address;
      address = next;
    }
    return address;
  };
}

/** An address as it is compared and counted: IPv4 in IPv6 as IPv4, without a zone. undefined: it is none. */
export function plainAddress(text: string): string | undefined {
  const withoutZone = text.split("%", 1)[0] ?? "";
  if (!/^[0-9a-fA-F:.]{2,45}$/.test(withoutZone)) return undefined;
  if (!withoutZone.includes(":") && !ipaddr.IPv4.isValidFourPartDecimal(withoutZone)) return undefined;
  return ipaddr.isValid(withoutZone) ? ipaddr.process(withoutZone).toString() : undefined;
}

/** Some proxies write a port: `192.0.2.1:4711`, `[2001:db8::1]:4711`. */
function forwardedAddress(text: string): string | undefined {
  const item = text.trim();
  const bracketed = /^\[([^\]]*)\](?::[0-9]{1,5})?$/.exec(item)?.[1];
  const withPort = /^([0-9.]+):[0-9]{1,5}$/.exec(item)?.[1];
  return plainAddress(bracketed ?? withPort ?? item);
}
