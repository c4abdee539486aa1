/** Which listeners stand behind a balancer that speaks the PROXY protocol. */
import { compileAddresses, type IsListedAddress } from "../access/trusted-addresses.js";
import { GitwharfError } from "../base/errors.js";
import type { GitServerOptions, ListenOptions } from "./git-server-options.js";

type Listener = "http" | "ssh" | "git";
const LISTENERS: readonly unknown[] = ["http", "ssh", "git"] satisfies readonly Listener[];

/** @throws server/bad-configuration */
export function proxiesOf(
  { trustedProxies = [] }: Pick<GitServerOptions, "trustedProxies">,
  { proxyProtocol = [] }: Pick<ListenOptions, "proxyProtocol">,
): Readonly<Record<Listener, IsListedAddress | undefined>> {
  if (!Array.isArray(proxyProtocol) || !proxyProtocol.every((name) => LISTENERS.includes(name))) {
    throw new GitwharfError(
      "server/bad-configuration",
      'proxyProtocol is a list of listeners: "http", "ssh", "git"',
    );
  }
  if (proxyProtocol.length > 0 && trustedProxies.length === 0) {
    throw new GitwharfError(
      "server/bad-configuration",
      "proxyProtocol needs the addresses that may speak it: set trustedProxies (--trusted-proxy)",
    );
  }
  const isListed = compileAddresses(trustedProxies);
  const proxies = (name: Listener): IsListedAddress | undefined =>
    proxyProtocol.includes(name) ? isListed : undefined;
  return { http: proxies("http"), ssh: proxies("ssh"), git: proxies("git") };
}
