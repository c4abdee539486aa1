/**
 * What holds when nobody was configured: everyone who can reach the server may read and push. Only for loopback;
 * the server refuses to bind anywhere else in this mode, and answers only requests whose Host is a loopback name,
 * so that a web page cannot reach it by DNS rebinding.
 */
import { isIPv4 } from "node:net";
import type { Authorize } from "../engine/authorization.js";

export const openAccess: Authorize = () => ({ allowed: true });

/** `localhost`, `*.localhost`, 127.0.0.0/8 and `::1` (as an address, without brackets or port). */
export function isLoopbackName(name: string): boolean {
  const host = name.toLowerCase().replace(/\.$/, "");
  if (host === "localhost" || host.endsWith(".localhost")) return true;
  if (isIPv4(host)) return host.startsWith("127.");
  return host === "::1";
}

/** The same for a `Host` header: a name or address with an optional port, IPv6 in brackets. */
export function isLoopbackHostHeader(header: string | undefined): boolean {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/@\s]+))(?::[0-9]{1,5})?$/.exec(header ?? "");
  const name = match?.[1] ?? match?.[2];
  return name !== undefined && isLoopbackName(name);
}
