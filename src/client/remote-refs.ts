/**
 * The refs of another server, in all protocol versions. Names that could not be refs here are left out and told: nothing of
 * what a server calls its refs gets near a path.
 */
import type { ByteSource } from "../base/byte-streams.js";
import type { ObjectFormat } from "../object/object-format.js";
import { isNullObjectId, isObjectId, type ObjectId } from "../object/object-id.js";
import { checkRefName } from "../object/ref-name.js";
import { createCommandHead, formatCommandHead } from "../protocol/wire/command-request.js";
import { createLsRefsArguments, formatLsRefsArguments } from "../protocol/wire/ls-refs-arguments.js";
import { type LsRefsLine, parseLsRefsLine } from "../protocol/wire/ls-refs-line.js";
import { DELIM, encodePktLine, FLUSH, packetText, PktLineReader } from "../protocol/wire/pkt-line.js";
import { sanitizeText } from "../protocol/wire/sanitize.js";
import { type Discovery, readToEnd, throwIfError } from "./discovery.js";
import { oneLine } from "./pack-request.js";
import { RemoteGitFailure, understood } from "./remote-git-failure.js";

export interface RemoteRef {
  /** Full: `refs/heads/main`. */
  readonly name: string;
  readonly oid: ObjectId;
  /** What a symbolic ref names; v0 servers tell it of HEAD alone. */
  readonly symbolicTarget?: string;
  /** Of an annotated tag: what it leads to. */
  readonly peeled?: ObjectId;
}

export interface RemoteHead {
  /** The branch that it names, even one without commits (where the server tells it); undefined: detached, or not told. */
  readonly symbolicTarget?: string;
  /** undefined: that branch has no commits. */
  readonly oid?: ObjectId;
}

export interface RemoteRefs {
  readonly objectFormat: ObjectFormat;
  /** Under `refs/`, in the server's order, each name once. */
  readonly refs: readonly RemoteRef[];
  /** undefined: it has none, or did not tell. */
  readonly head: RemoteHead | undefined;
  /** Names that no ref can have, as they can be shown; the first thousand. */
  readonly omitted: readonly string[];
}

/** Of what is left out so many are named. */
const OMITTED_MAX = 1000;

/** The v2 request. @param prefixes none: all refs */
export function formatLsRefsRequest(
  discovery: Extract<Discovery, { readonly protocol: 2 }>,
  { prefixes, agent }: { readonly prefixes: readonly string[]; readonly agent: string },
): Buffer {
  const { capabilities, objectFormat } = discovery;
  const features = capabilities.get("ls-refs");
  if (features === undefined) throw new RemoteGitFailure("the other side does not list its refs (ls-refs)");
  const request = createLsRefsArguments();
  request.peel = true;
  request.symrefs = true;
  request.unborn = features.split(" ").includes("unborn");
  request.prefixes.push(...(prefixes.length === 0 ? [] : ["HEAD", ...prefixes.map(oneLine)]));
  return formatCommand("ls-refs", {
    capabilities,
    objectFormat,
    agent,
    lines: formatLsRefsArguments(request),
  });
}

/** A v2 request, with what the server wants to know besides. */
export function formatCommand(
  command: string,
  about: {
    readonly capabilities: ReadonlyMap<string, string>;
    readonly objectFormat: ObjectFormat;
    readonly agent: string;
    readonly lines: readonly string[];
  },
): Buffer {
  const { capabilities, objectFormat, agent, lines } = about;
  const head = createCommandHead();
  head.command = command;
  if (capabilities.has("agent")) head.agent = agent;
  if (capabilities.has("object-format")) head.objectFormat = objectFormat;
  const line = (text: string): Buffer => encodePktLine(`${text}\n`);
  return Buffer.concat([...formatCommandHead(head).map(line), DELIM, ...lines.map(line), FLUSH]);
}

/** The v2 answer. @throws RemoteGitFailure */
export function readLsRefs(
  source: ByteSource,
  about: {
    readonly objectFormat: ObjectFormat;
    readonly prefixes: readonly string[];
    readonly bytesMax: number;
  },
): Promise<RemoteRefs> {
  const { objectFormat, bytesMax } = about;
  const reader = new PktLineReader(source, { totalBytesMax: bytesMax, limitName: "of a list of refs" });
  return understood(async () => {
    try {
      const found = new FoundRefs(about);
      for (;;) {
        const packet = await reader.next();
        if (packet.kind === "flush") {
          await readToEnd(reader);
          return found.refs();
        }
        if (packet.kind === "eof")
          throw new RemoteGitFailure("the other side broke off before it had told its refs", {
            kind: "gone",
          });
        if (packet.kind !== "data")
          throw new RemoteGitFailure("the other side does not speak git's protocol");
        throwIfError(packet.payload);
        found.add(parseLsRefsLine(packetText(packet.payload), objectFormat));
      }
    } finally {
      await reader.close();
    }
  });
}

/** Of v0 and v1, which have told all at once. */
export function refsIn(
  { advertisement, objectFormat, symbolicTargets }: Extract<Discovery, { readonly protocol: 0 }>,
  prefixes: readonly string[],
): RemoteRefs {
  const found = new FoundRefs({ objectFormat, prefixes });
  for (const { name, oid, peeled } of advertisement.refs)
    found.add({ name, oid, peeled, symrefTarget: symbolicTargets.get(name) });
  return found.refs();
}

class FoundRefs {
  readonly #objectFormat: ObjectFormat;
  readonly #prefixes: readonly string[];
  readonly #refs = new Map<string, RemoteRef>();
  readonly #omitted: string[] = [];
  #head: RemoteHead | undefined;

  constructor(about: { readonly objectFormat: ObjectFormat; readonly prefixes: readonly string[] }) {
    this.#objectFormat = about.objectFormat;
    this.#prefixes = about.prefixes;
  }

  add({ name, oid, symrefTarget, peeled }: LsRefsLine): void {
    const symbolicTarget = isRefName(symrefTarget) ? symrefTarget : undefined;
    const target = symbolicTarget === undefined ? {} : { symbolicTarget };
    if (name === "HEAD") {
      this.#head = { ...target, ...(oid === undefined ? {} : { oid }) };
      return;
    }
    // A server may tell more than it was asked for.
    if (oid === undefined || !this.#isAskedFor(name)) return;
    if (!isRefName(name) || isNullObjectId(oid)) {
      if (this.#omitted.length < OMITTED_MAX) this.#omitted.push(sanitizeText(name.slice(0, 200)));
      return;
    }
    const end = peeled !== undefined && isObjectId(peeled, this.#objectFormat) ? { peeled } : {};
    if (this.#refs.has(name))
      throw new RemoteGitFailure(`the other side tells the ref ${sanitizeText(name)} twice`);
    this.#refs.set(name, { name, oid, ...target, ...end });
  }

  refs(): RemoteRefs {
    return {
      objectFormat: this.#objectFormat,
      refs: [...this.#refs.values()],
      head: this.#head,
      omitted: this.#omitted,
    };
  }

  #isAskedFor(name: string): boolean {
    return this.#prefixes.length === 0 || this.#prefixes.some((prefix) => name.startsWith(prefix));
  }
}

function isRefName(name: string | undefined): name is string {
  return name !== undefined && name.startsWith("refs/") && checkRefName(name) === undefined;
}
