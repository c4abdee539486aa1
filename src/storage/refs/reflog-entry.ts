/**
 * What goes into a reflog, and whether there is one. Specification: git-reflog, git-config core.logAllRefUpdates.
 *
 *     <old id> SP <new id> SP <name> SP < <email> > SP <seconds> SP <zone> [TAB <message>] LF
 */
import type { ObjectFormat } from "../../object/object-format.js";
import { isObjectId } from "../../object/object-id.js";
import type { ReflogEntry, RefTransaction } from "../contracts/ref-store.js";
import type { RepositorySettings } from "../contracts/repository-settings.js";

export type LogAllRefUpdates = RepositorySettings["core"]["logAllRefUpdates"];

/** Whether a ref that has no log yet gets one. */
export function startsReflog(name: string, policy: LogAllRefUpdates): boolean {
  if (policy !== "true") return policy === "always";
  return name === "HEAD" || /^refs\/(?:heads|remotes|notes)\//.test(name);
}

export type Committer = NonNullable<RefTransaction["committer"]>;

/** Who a log entry names: the fields that are safe to write, whole seconds. */
export function committerOf(committer: RefTransaction["committer"]): Committer {
  const { name, email, timeSeconds } = committer ?? {
    name: "gitwharf",
    email: "gitwharf@localhost",
    timeSeconds: Date.now() / 1000,
  };
  return { name: identityPart(name), email: identityPart(email), timeSeconds: Math.floor(timeSeconds) };
}

/** @param zone as a decimal number, +0130 being 130. What is written here is always UTC. */
export function formatCommitter({ name, email, timeSeconds }: Committer, zone = 0): string {
  const offset = `${zone < 0 ? "-" : "+"}${String(Math.abs(zone)).padStart(4, "0")}`;
  return `${name} <${email}> ${timeSeconds} ${offset}`;
}

/** What would end the part early is left out, as git does. */
function identityPart(text: string): string {
  return text.replaceAll(/[\0-\x1f\x7f<>]+/g, "").trim();
}

/** One line: runs of white space become one space. */
export function reflogMessage(text: string | undefined): string {
  return (text ?? "").replaceAll("\0", " ").replaceAll(/\s+/g, " ").trim();
}

export function formatReflogLine({ oldOid, newOid, committer, message }: ReflogEntry): string {
  return `${oldOid} ${newOid} ${committer}${message === "" ? "" : `\t${message}`}\n`;
}

/** Lines that are no entries are passed over, as git passes over them. */
export function parseReflog(text: string, format: ObjectFormat): readonly ReflogEntry[] {
  const entries: ReflogEntry[] = [];
  for (const line of text.split("\n")) {
    const [oldOid = "", newOid = ""] = line.split(" ", 2);
    if (!isObjectId(oldOid, format) || !isObjectId(newOid, format)) continue;
    const rest = line.slice(oldOid.length + newOid.length + 2);
    const tab = rest.indexOf("\t");
    const committer = tab < 0 ? rest : rest.slice(0, tab);
    entries.push({ oldOid, newOid, committer, message: tab < 0 ? "" : rest.slice(tab + 1) });
  }
  return entries;
}
