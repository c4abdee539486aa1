/** Entries of the log as lines of text or of JSON. One entry is one line, whatever a client wrote into it, but for a stack. */
import type { ServiceLogEntry } from "../transport/service-host.js";

export type LogForm = "text" | "json" | "none";

/** @returns undefined for what is not written in that form: of "none", everything but warnings and errors */
export function formatLogEntry(form: LogForm, entry: ServiceLogEntry, time: Date): string | undefined {
  if (form === "none" && entry.level === "info") return undefined;
  return form === "json" ? jsonLine(entry, time) : textLine(entry, time);
}

function jsonLine({ level, message, fields, error }: ServiceLogEntry, time: Date): string {
  const own = { time: time.toISOString(), level, message };
  return `${JSON.stringify({ ...own, ...fields, ...(error === undefined ? {} : { error: shown(error) }) })}\n`;
}

function textLine({ level, message, fields, error }: ServiceLogEntry, time: Date): string {
  const details = Object.entries(fields ?? {})
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}=${quoted(String(value))}`)
    .join("");
  const tail = error === undefined ? "" : `\n${shown(error)}`;
  // oxlint-disable-next-line no-control-regex
  const line = message.replaceAll(/[\0-\x1f\x7f-\x9f]/g, "?");
  return `${time.toISOString()} ${level} ${line}${details}${tail}\n`;
}

/** Anything but a plain word in quotes: no value may look like another field or another line. */
function quoted(text: string): string {
  return /^[\w./:@+-]+$/.test(text) ? text : JSON.stringify(text);
}

function shown(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
