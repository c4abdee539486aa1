/** `5000`, `:5000`, `127.0.0.1:5000`, `[::1]:5000`, `localhost:5000`. */
import { GitwharfError } from "../base/errors.js";

export interface ListenAddress {
  readonly host: string;
  /** 0 to 65,535. */
  readonly port: number;
}

/** @throws server/bad-configuration */
export function parseListenAddress(text: number | string): ListenAddress {
  const match = /^(?:(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]*)):)?([0-9]{1,5})$/.exec(String(text));
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new GitwharfError(
      "server/bad-configuration",
      `'${text}' is not an address to listen on; write PORT, HOST:PORT or [IPV6]:PORT`,
    );
  }
  return { host: match[1] ?? (match[2] || "127.0.0.1"), port };
}
