/**
 * Which repository of which forge an address of the gateway means:
 *
 *     /v1/{gh|gl|cb|local}/OWNER/REPO[.git][/REST]
 *     /v1/gt/HOST/OWNER/REPO[.git][/REST]
 *
 * A name that breaks the rules is told so; a path that is no such address at all is somebody else's.
 */
import { GitwharfError } from "../base/errors.js";

export type ForgeName = "gh" | "gl" | "cb" | "gt";

export interface UpstreamName {
  readonly owner: string;
  readonly repo: string;
}

export interface UpstreamAddress extends UpstreamName {
  readonly forge: ForgeName | "local";
  /** Of `gt`, lower-case, with its port where it has one; of the others "". */
  readonly host: string;
  /** What follows the repository, without the slash: `info/refs`, `issues/anonymous`; "" when nothing does. */
  readonly rest: string;
}

const FORGES: ReadonlySet<string> = new Set(["gh", "gl", "cb", "gt", "local"]);
const NAME = /^(?![.-])[A-Za-z0-9._-]{1,100}$/;
/** Names of a repository's own directory and pages, on every forge. */
const RESERVED = new Set([".git", ".wiki"]);
const HOST_LENGTH_MAX = 253;
const HOST =
  /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*(?::[1-9][0-9]{0,4})?$/;

/**
 * @param path of the request, without its query, as it came: nothing in it may be escaped
 * @returns undefined: not an address of the gateway
 * @throws protocol/bad-request `Invalid repo name`
 */
export function parseUpstreamAddress(path: string): UpstreamAddress | undefined {
  const [empty, version, forge = "", ...segments] = path.split("/");
  if (empty !== "" || version !== "v1" || !isForge(forge)) return undefined;
  const host = forge === "gt" ? parseHost(segments.shift() ?? "") : "";
  const [owner = "", repository = "", ...rest] = segments;
  return { forge, host, ...parseUpstreamName(owner, repository), rest: rest.join("/") };
}

/** @throws protocol/bad-request `Invalid repo name` */
export function parseUpstreamName(owner: string, repository: string): UpstreamName {
  const repo = repository.endsWith(".git") ? repository.slice(0, -4) : repository;
  if (!isName(owner) || !isName(repo)) throw invalid();
  return { owner, repo };
}

/** Whether a forge may have named an owner or a repository so: what is built into addresses. */
export function isName(text: string): boolean {
  return NAME.test(text) && !text.includes("..") && !RESERVED.has(text) && !text.endsWith(".git");
}

/** As people write it, and as one key of it: forges take upper and lower case for the same. */
export function keyOfUpstream({ forge, host, owner, repo }: Omit<UpstreamAddress, "rest">): string {
  const where = host === "" ? forge : `${forge}/${host}`;
  return `${where}/${owner}/${repo}`.toLowerCase();
}

function parseHost(text: string): string {
  const host = text.toLowerCase();
  const port = Number(/:(\d+)$/.exec(host)?.[1] ?? 443);
  if (host.length > HOST_LENGTH_MAX || !HOST.test(host) || port > 65_535) throw invalid();
  return host;
}

function isForge(text: string): text is UpstreamAddress["forge"] {
  return FORGES.has(text);
}

function invalid(): GitwharfError {
  return new GitwharfError("protocol/bad-request", "Invalid repo name");
}
