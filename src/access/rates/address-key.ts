/** The address that counts as one caller: of IPv6 the network of 64 bits, which one customer has whole. */
import ipaddr from "ipaddr.js";
import { plainAddress } from "../client-address.js";

const NETWORK_PARTS = 4;

export function addressKey(address: string | undefined): string {
  const plain = address === undefined ? undefined : plainAddress(address);
  if (plain === undefined) return "unknown";
  if (!plain.includes(":")) return plain;
  const network = ipaddr.IPv6.parse(plain).parts.slice(0, NETWORK_PARTS);
  return `${network.map((part) => part.toString(16)).join(":")}::/64`;
}
