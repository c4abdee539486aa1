/** Capability lists: `name` or `name=value`, separated by spaces. Specification: gitprotocol-capabilities. */
import { GitwharfError } from "../../base/errors.js";

export type Capabilities = ReadonlyMap<string, string>;

/** @throws protocol/bad-request for control characters in it */
export function parseCapabilities(text: string): Capabilities {
  // eslint-disable-next-line no-control-regex -- control characters are exactly what is refused
  if (/[\0-\x1f\x7f]/.test(text)) {
    throw new GitwharfError("protocol/bad-request", "the capabilities of the request contain control characters");
  }
  const capabilities = new Map<string, string>();
  for (const item of text.split(" ")) {
    if (item === "") continue;
    const equals = item.indexOf("=");
    if (equals < 0) capabilities.set(item, "");
    else capabilities.set(item.slice(0, equals), item.slice(equals + 1));
  }
  return capabilities;
}
