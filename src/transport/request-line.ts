/** What of a request's target may be logged: no query, no user information, no control characters, not without end. */
import { withoutUserInformation } from "../base/user-information.js";
import { formatControlText } from "./http/plain-text.js";

const SHOWN_MAX = 300;

/** `https://ada:secret@host/app.git/info/refs?token=x` → `/app.git/info/refs` */
export function shownTarget(url: string | undefined): string {
  const [path = ""] = (url ?? "").split(/[?#]/, 1);
  const relative = path.replace(/^[A-Za-z][A-Za-z0-9+.-]*:\/\/[^/]*/, "");
  return formatControlText(withoutUserInformation(relative).slice(0, SHOWN_MAX));
}
