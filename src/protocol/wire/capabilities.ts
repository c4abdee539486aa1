/** Capability lists: `name` or `name=value`, separated by spaces. Specification: gitprotocol-capabilities. */
import { GitwharfError } from "../../base/errors.js";

/** A capability without a value has the empty one. */
export type Capabilities = ReadonlyMap<string, string>;

/** Of a name that stands twice, the last. @throws protocol/bad-request for control characters in it */
export function parseCapabilities(text: string): Capabilities {
  if (/[\0-\x1f\x7f]/.test(text)) {
    throw new GitwharfError(
      "protocol/bad-request",
      "the capabilities of the request contain control characters",
    );
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

export function formatCapabilities(capabilities: Capabilities): string {
  return [...capabilities].map(([name, value]) => (value === "" ? name : `${name}=${value}`)).join(" ");
}
