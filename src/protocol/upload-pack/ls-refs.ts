/**
 * The v2 command `ls-refs`. Specification: gitprotocol-v2 "ls-refs". Answers are rendered once per snapshot.
 */
import { LRUCache } from "lru-cache";
import { GitwharfError } from "../../base/errors.js";
import type { Ref } from "../../storage/contracts/ref-store.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import { encodePktLine, FLUSH } from "../wire/pkt-line.js";
import type { UploadPackContext } from "./upload-pack-context.js";
import { peeledOf, visibleRefs } from "./visible-refs.js";

export interface LsRefsRequest {
  peel: boolean;
  symrefs: boolean;
  unborn: boolean;
  readonly prefixes: string[];
}

/** More prefixes are as good as none: the client sorts the answer out itself (git has the same bound). */
const PREFIXES_MAX = 65_536;

const rendered = new LRUCache<string, Buffer>({ maxSize: 64 * 1024 * 1024, sizeCalculation: (b) => b.length + 256 });

/** @throws protocol/bad-request for an argument that does not exist */
export function parseLsRefs(lines: readonly string[], context: UploadPackContext): LsRefsRequest {
  const request: LsRefsRequest = { peel: false, symrefs: false, unborn: false, prefixes: [] };
  for (const line of lines) {
    if (line === "peel") request.peel = true;
    else if (line === "symrefs") request.symrefs = true;
    else if (line === "unborn") request.unborn = context.settings.lsRefs.unborn !== "ignore";
    else if (line.startsWith("ref-prefix ")) request.prefixes.push(line.slice("ref-prefix ".length));
    else throw new GitwharfError("protocol/bad-request", `unexpected line: '${line.slice(0, 100)}'`);
  }
  if (request.prefixes.length > PREFIXES_MAX) request.prefixes.length = 0;
  return request;
}

/** The whole answer, the final flush included. */
export async function renderLsRefs(context: UploadPackContext, snapshot: Snapshot, request: LsRefsRequest): Promise<Buffer> {
  const { hideRefs } = context.settings.uploadPack;
  const key = JSON.stringify([context.repository.id, snapshot.refs.version, hideRefs, request]);
  const cached = rendered.get(key);
  if (cached !== undefined) return cached;
  const refs = visibleRefs(snapshot, hideRefs);
  const { prefixes } = request;
  const wanted = (name: string): boolean => prefixes.length === 0 || prefixes.some((prefix) => name.startsWith(prefix));
  const lines: Buffer[] = [];
  const { head } = refs;
  if (wanted("HEAD")) {
    const symref = request.symrefs && head.symbolicTarget !== undefined ? ` symref-target:${head.symbolicTarget}` : "";
    if (head.oid !== undefined) {
      const peeled = request.peel ? await peeledOf(snapshot, { name: "HEAD", oid: head.oid }) : undefined;
      lines.push(encodePktLine(`${head.oid} HEAD${symref}${peeled === undefined ? "" : ` peeled:${peeled}`}\n`));
    } else if (request.unborn && head.symbolicTarget !== undefined) {
      // `unborn` says where HEAD points only to those who asked for symrefs.
      lines.push(encodePktLine(`unborn HEAD${symref}\n`));
    }
  }
  for (const ref of selected(refs.all, prefixes)) {
    const symref = request.symrefs && ref.symbolicTarget !== undefined ? ` symref-target:${ref.symbolicTarget}` : "";
    const peeled = request.peel ? await peeledOf(snapshot, ref) : undefined;
    lines.push(encodePktLine(`${ref.oid} ${ref.name}${symref}${peeled === undefined ? "" : ` peeled:${peeled}`}\n`));
  }
  lines.push(FLUSH);
  const bytes = Buffer.concat(lines);
  rendered.set(key, bytes);
  return bytes;
}

function selected(all: readonly Ref[], prefixes: readonly string[]): readonly Ref[] {
  if (prefixes.length === 0) return all;
  return all.filter((ref) => prefixes.some((prefix) => ref.name.startsWith(prefix)));
}
