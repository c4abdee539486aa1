/**
 * The conversation with a proc-receive hook. Specification: githooks "proc-receive"; where it says nothing, what
 * git-receive-pack does.
 *
 *     to the hook    version=1 [NUL [atomic] [push-options]], flush
 *     from the hook  version=1 [NUL [push-options]], flush
 *     to the hook    <old> <new> <ref> …, flush; if it asked for them: <option> …, flush
 *     from the hook  ok <ref> | ng <ref> [<why>] | option <key> [<value>] …, flush
 */
import type { ProcReceiveResult, PushCommand } from "../engine/push.js";
import { hexLength, type ObjectFormat } from "../object/object-format.js";
import { isObjectId } from "../object/object-id.js";
import { formatPacketLine, PacketLines } from "./packet-lines.js";
import type { HookPipes } from "./run-hook.js";

export interface ProcReceivePush {
  /** Those that are the hook's. */
  readonly commands: readonly PushCommand[];
  /** The names of all that are pushed. */
  readonly pushed: readonly string[];
  readonly options: readonly string[];
  /** What the client asked for. */
  readonly atomic: boolean;
  readonly takesOptions: boolean;
  readonly objectFormat: ObjectFormat;
}

export interface ProcReceiveAnswer {
  /** undefined: the hook did not come to an answer. */
  readonly results: readonly ProcReceiveResult[] | undefined;
  /** Lines for the pusher, in git's words. */
  readonly complaints: readonly string[];
}

const COMPLAINTS_MAX = 100;

export async function talkToProcReceive(hook: HookPipes, push: ProcReceivePush): Promise<ProcReceiveAnswer> {
  const failed = (complaint: string): ProcReceiveAnswer => ({ results: undefined, complaints: [complaint] });
  const lines = new PacketLines(hook.output);
  const features = [...(push.atomic ? ["atomic"] : []), ...(push.takesOptions ? ["push-options"] : [])];
  const offer = features.length === 0 ? "" : `\0${features.join(" ")}`;
  const greeted = await hook.write(formatPacketLine(`version=1${offer}\n`) + "0000");
  const greeting = greeted ? await readGreeting(lines) : undefined;
  if (greeting === undefined) return failed("fail to negotiate version with proc-receive hook");
  if (greeting.version !== 0 && greeting.version !== 1)
    return failed(`proc-receive version '${greeting.version}' is not supported`);
  const commands = push.commands.map(({ oldOid, newOid, name }) =>
    formatPacketLine(`${oldOid} ${newOid} ${name}`),
  );
  if (!(await hook.write(`${commands.join("")}0000`)))
    return failed("fail to write commands to proc-receive hook");
  if (greeting.wantsOptions && !(await hook.write(`${push.options.map(formatPacketLine).join("")}0000`)))
    return failed("fail to write push-options to proc-receive hook");
  return readAnswer(lines, push);
}

/** A hook that names no version is taken at its word. */
async function readGreeting(
  lines: PacketLines,
): Promise<{ readonly version: number; readonly wantsOptions: boolean } | undefined> {
  let version = 0;
  let wantsOptions = false;
  for (;;) {
    const packet = await lines.next();
    if (packet.kind === "flush") return { version, wantsOptions };
    if (packet.kind !== "line") return undefined;
    const [text = "", features = ""] = packet.text.split("\0");
    if (!text.startsWith("version=") || packet.text.length <= "version=".length) continue;
    version = Number.parseInt(text.slice("version=".length), 10) || 0;
    if (features.split(/\s/).some((feature) => /^push-options(=|$)/.test(feature))) wantsOptions = true;
  }
}

/** What was said of one ref. */
interface Said {
  refusal?: string;
  fallThrough?: boolean;
  /** One for each `ok` that options follow. */
  readonly reports: Report[];
}

type Report = {
  -readonly [Key in "refName" | "oldOid" | "newOid" | "forcedUpdate"]?: ProcReceiveResult[Key];
};

async function readAnswer(lines: PacketLines, push: ProcReceivePush): Promise<ProcReceiveAnswer> {
  const names = new Set(push.commands.map(({ name }) => name));
  const pushed = new Set(push.pushed);
  const said = new Map<string, Said>();
  const complaints: string[] = [];
  const complain = (text: string): void => {
    if (complaints.length < COMPLAINTS_MAX) complaints.push(text);
  };
  let current: Said | undefined;
  let report: Report | undefined;
  let packets = 0;
  let stray = 0;
  for (;;) {
    const packet = await lines.next();
    if (packet.kind === "malformed") complain("proc-receive sent a malformed packet");
    if (packet.kind === "end" && packets === 0)
      return { results: undefined, complaints: ["proc-receive exited abnormally"] };
    if (packet.kind !== "line") break;
    packets++;
    const [head, rest] = splitAtSpace(packet.text.split("\0", 1)[0] ?? "");
    if (rest === undefined) {
      complain(`proc-receive reported incomplete status line: '${head}'`);
      continue;
    }
    if (head === "option") {
      if (current === undefined) {
        if (stray++ === 0) complain("proc-receive reported 'option' without a matching 'ok/ng' directive");
        continue;
      }
      if (report === undefined) current.reports.push((report = {}));
      if (splitAtSpace(rest)[0] === "fall-through") current.fallThrough = true;
      else takeOption(report, rest, push.objectFormat);
      continue;
    }
    current = undefined;
    report = undefined;
    const [name, why] = splitAtSpace(rest);
    if (head !== "ok" && head !== "ng")
      complain(`proc-receive reported bad status '${head}' on ref '${name}'`);
    else if (!names.has(name) && !pushed.has(name))
      complain(`proc-receive reported status on unknown ref: ${name}`);
    else if (!names.has(name) || said.get(name)?.fallThrough === true)
      complain(`proc-receive reported status on unexpected ref: ${name}`);
    else {
      const about: Said = said.get(name) ?? { reports: [] };
      said.set(name, about);
      if (head === "ok") current = about;
      else about.refusal = why ?? "failed";
    }
  }
  return { results: [...said].flatMap(([name, about]) => resultsOf(name, about)), complaints };
}

function resultsOf(name: string, { refusal, fallThrough, reports }: Said): readonly ProcReceiveResult[] {
  if (refusal !== undefined) return [{ name, refusal }];
  const all = reports.length === 0 ? [{}] : reports;
  return all.map((report) => ({ name, ...report, ...(fallThrough === true ? { fallThrough } : {}) }));
}

/** What is not known, and an id that is none, is passed over. */
function takeOption(report: Report, text: string, format: ObjectFormat): void {
  const [key, value = ""] = splitAtSpace(text);
  const oid = value.slice(0, hexLength(format)).toLowerCase();
  if (key === "refname" && value !== "") report.refName = value;
  else if (key === "old-oid" && isObjectId(oid, format)) report.oldOid = oid;
  else if (key === "new-oid" && isObjectId(oid, format)) report.newOid = oid;
  else if (key === "forced-update") report.forcedUpdate = true;
}

function splitAtSpace(text: string): [string, string | undefined] {
  const space = text.indexOf(" ");
  return space < 0 ? [text, undefined] : [text.slice(0, space), text.slice(space + 1)];
}
