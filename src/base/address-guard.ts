/**
 * Which addresses the server may call where somebody else has named them: those of the public internet, and those that the
 * operator allows. An IPv4 address inside an IPv6 one (mapped, NAT64, 6to4, Teredo) is looked at as what it leads to, or
 * not called at all.
 */
import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import { GitwharfError } from "./errors.js";

export type IsCallable = (address: string) => boolean;

/** Names for what is allowed together. */
const NAMED: Readonly<Record<string, readonly string[]>> = {
  loopback: ["127.0.0.0/8", "::1/128"],
  private: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
};

const [GLOBAL, GLOBAL_BITS] = ipaddr.IPv6.parseCIDR("2000::/3");

/**
 * @param allowed addresses, networks (`10.1.0.0/16`), `loopback`, `private`
 * @throws server/bad-configuration
 */
export function createAddressGuard(allowed: readonly string[]): IsCallable {
  const networks = allowed.flatMap((text) => NAMED[text] ?? [text]).map(parseNetwork);
  return (text) => {
    if (isIP(text) === 0 || text.includes("%")) return false;
    const address = ipaddr.process(text);
    const isAllowed = networks.some(
      ([network, bits]) => network.kind() === address.kind() && address.match(network, bits),
    );
    return isAllowed || (address.range() === "unicast" && isPublic(address));
  };
}

/** Of IPv6, what is given out as such: old forms of IPv4 addresses lie elsewhere. */
function isPublic(address: ipaddr.IPv4 | ipaddr.IPv6): boolean {
  return address.kind() === "ipv4" || address.match(GLOBAL, GLOBAL_BITS);
}

/** @throws server/bad-configuration */
function parseNetwork(text: string): [ipaddr.IPv4 | ipaddr.IPv6, number] {
  try {
    // It takes 10.1 for an address, too.
    if (isIP(text.split("/", 1)[0] ?? "") === 0) throw new Error("no address");
    if (text.includes("/")) return ipaddr.parseCIDR(text);
    const address = ipaddr.process(text);
    return [address, address.kind() === "ipv4" ? 32 : 128];
  } catch {
    throw new GitwharfError(
      "server/bad-configuration",
      `'${text}' is no address, no network (10.0.0.0/8) and neither "loopback" nor "private"`,
    );
  }
}
