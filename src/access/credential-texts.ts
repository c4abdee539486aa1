/** Where a token may stand: as Bearer, as the password of any user, or as the user with an empty password. */
import type { AuthenticationAttempt } from "./authenticator.js";

export function tokenTexts(credentials: AuthenticationAttempt["credentials"]): readonly string[] {
  if (typeof credentials !== "object") return [];
  switch (credentials.kind) {
    case "bearer":
      return [credentials.token];
    case "basic":
      return credentials.password === "" ? [credentials.user] : [credentials.password];
    default:
      return [];
  }
}
