/**
 * Values that the services put into their capabilities. Specification: gitprotocol-capabilities "agent",
 * "session-id": printable ASCII without spaces.
 */

/** Longest agent or session id that is sent or kept. */
const TOKEN_CHARACTERS_MAX = 256;

/** A text as an agent or session id: what may not stand there becomes `.`, as git does it. */
export function capabilityToken(text: string): string {
  return text.slice(0, TOKEN_CHARACTERS_MAX).replace(/[^!-~]/g, ".");
}
