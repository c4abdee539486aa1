/**
 * A header in which a reverse proxy says whom it has signed in. Believed from listed addresses only; from any other the
 * header is as if it were not there. The proxy must take it off what its own callers send.
 */
import { GitwharfError } from "../base/errors.js";
import type { Authenticator } from "./authenticator.js";
import { compileAddresses } from "./trusted-addresses.js";
import { isUserName } from "./user-name.js";

export interface ProxyHeaderOptions {
  /** `X-Forwarded-User` */
  readonly header: string;
  /** Addresses and networks: `10.0.0.5`, `10.0.0.0/8`, `::1`, or the names `loopback`, `linklocal`, `uniquelocal`. */
  readonly proxies: readonly string[];
}

/** @throws server/bad-configuration */
export function createProxyHeaderAuthenticator({ header, proxies }: ProxyHeaderOptions): Authenticator {
  if (!/^[A-Za-z][A-Za-z0-9-]*$/.test(header))
    throw new GitwharfError("server/bad-configuration", `'${header}' cannot be the name of a header`);
  if (/^(?:authorization|cookie|host|x-forwarded-for)$/i.test(header))
    throw new GitwharfError(
      "server/bad-configuration",
      `the header ${header} has another meaning; choose one of its own`,
    );
  if (proxies.length === 0) {
    throw new GitwharfError(
      "server/bad-configuration",
      "a header that names users needs the addresses of the proxies that may send it (--trusted-proxy)",
    );
  }
  const isTrusted = compileAddresses(proxies);
  return {
    name: "proxy-header",
    authenticate({ peerAddress, headerValues }) {
      if (headerValues === undefined || peerAddress === undefined || !isTrusted(peerAddress))
        return undefined;
      const values = headerValues(header);
      const [user = ""] = values;
      if (values.length === 0 || (values.length === 1 && user === "")) return undefined;
      if (values.length > 1) return { refused: `the header ${header} came ${values.length} times` };
      if (!isUserName(user)) return { refused: `the header ${header} holds no user's name` };
      return { identity: { user, method: "proxy-header" } };
    },
  };
}
