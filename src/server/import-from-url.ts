/**
 * A repository on another server as something to be imported, by a Git client of our own: its branches, tags and notes, or
 * all of its refs. What comes is bounded, for somebody else has made it.
 */
import type { ByteSource } from "../base/byte-streams.js";
import { DEFAULT_LIMITS, type Limits } from "../base/limits.js";
import { incomplete, withSender } from "../client/receive-into.js";
import type { RemoteRefs } from "../client/remote-refs.js";
import { openRemote, type RemoteOptions } from "../client/remote-repository.js";
import { parseRemoteUrl } from "../client/remote-url.js";
import type { Ref } from "../storage/contracts/ref-store.js";
import { branchAt, BRANCHES, DETACHED, type ImportSource } from "./import-source.js";
import { checkLimits } from "./check-options.js";
import { AGENT } from "./version.js";

export interface UrlImportOptions {
  /** How the other server is spoken to. */
  readonly remote?: Omit<RemoteOptions, "signal"> | undefined;
  /** All refs: forges keep others than branches, tags and notes, some of them for every proposal. @default false */
  readonly allRefs?: boolean | undefined;
  /** What may come from a URL, in place of some of its own limits (docs/client.md). */
  readonly limits?: Partial<Limits> | undefined;
  /** What the other server says, control characters taken out; lines that are overwritten end in CR. */
  readonly onRemoteText?: ((text: string) => void) | undefined;
}

const GiB = 1024 ** 3;

/** More than a push may bring, for it is the operator who asks for it; but not without end. */
const LIMITS: Limits = {
  ...DEFAULT_LIMITS,
  packSizeBytesMax: 64 * GiB,
  packObjectsMax: 50_000_000,
  packObjectsTotalMax: Infinity,
  inflatedTotalBytesMax: 4096 * GiB,
  objectSizeBytesMax: 2 * GiB,
};
const USUAL = [BRANCHES, "refs/tags/", "refs/notes/"];
const MEBIBYTE = 1024 * 1024;
/** Between two lines about what has come. */
const TELL_MS = 250;

/** @throws client/…, server/bad-configuration, protocol/unsupported, base/aborted */
export async function openUrlSource(
  url: string,
  options: UrlImportOptions & {
    readonly signal?: AbortSignal | undefined;
    readonly onProgress?: ((text: string) => void) | undefined;
  },
): Promise<ImportSource> {
  const { signal, onRemoteText, onProgress } = options;
  checkLimits(options.limits ?? {});
  const remote = openRemote(url, { agent: AGENT, ...options.remote, signal });
  try {
    const listed = await remote.listRefs({ prefixes: options.allRefs === true ? ["refs/"] : USUAL });
    const refs = refsToMake(listed);
    const { defaultBranch, isDetached } = branchOfHead(listed, refs);
    const wants = [...new Set(refs.map(({ oid }) => oid))];
    const arrival = new Arrival(onProgress);
    let leave = async (): Promise<void> => undefined;
    return {
      objectFormat: listed.objectFormat,
      defaultBranch,
      refs,
      omitted: [
        ...listed.omitted.map((name) => `${name}, which is no name of a ref`),
        ...(isDetached ? [DETACHED] : []),
      ],
      pack:
        wants.length === 0
          ? undefined
          : async () => {
              const answer = await remote.fetchPack({ wants, onRemoteText });
              leave = () => answer.close();
              const { pack, shallow } = answer;
              return { bytes: arrival.count(pack), shallow, end: () => answer.end() };
            },
      limits: { ...LIMITS, ...options.limits },
      label: new URL(parseRemoteUrl(url).base).host,
      failureOf: (error) => withSender(remote.url, error),
      missing: (oid) => incomplete(remote.url, oid),
      onProgress: (text) => arrival.print(text),
      async close() {
        arrival.end();
        await leave();
        remote.close();
      },
    };
  } catch (error) {
    remote.close();
    throw error;
  }
}

/** Symbolic refs to one that is none: others may lead in circles, and are made as what they lead to. */
function refsToMake({ refs }: RemoteRefs): readonly Ref[] {
  const plain = new Set(
    refs.filter(({ symbolicTarget }) => symbolicTarget === undefined).map(({ name }) => name),
  );
  return refs.map(({ name, oid, symbolicTarget }) =>
    symbolicTarget !== undefined && plain.has(symbolicTarget) ? { name, oid, symbolicTarget } : { name, oid },
  );
}

function branchOfHead(
  { head }: RemoteRefs,
  refs: readonly Ref[],
): { readonly defaultBranch: string | undefined; readonly isDetached: boolean } {
  if (head?.symbolicTarget?.startsWith(BRANCHES) === true)
    return { defaultBranch: head.symbolicTarget.slice(BRANCHES.length), isDetached: false };
  const found = branchAt(head?.oid, refs);
  return { defaultBranch: found, isDetached: head?.oid !== undefined && found === undefined };
}

/** What has come, on a line that ends before anything else is said. */
class Arrival {
  readonly #print: ((text: string) => void) | undefined;
  #bytes = 0;
  #toldAt = performance.now();
  #isOpen = false;

  constructor(print: ((text: string) => void) | undefined) {
    this.#print = print;
  }

  async *count(pack: ByteSource): AsyncGenerator<Uint8Array, void, void> {
    for await (const chunk of pack) {
      this.#bytes += chunk.length;
      this.#isOpen = true;
      const now = performance.now();
      if (now - this.#toldAt >= TELL_MS) {
        this.#toldAt = now;
        this.#tell("\r");
      }
      yield chunk;
    }
  }

  print(text: string): void {
    this.end();
    this.#print?.(text);
  }

  end(): void {
    if (this.#isOpen) this.#tell("\n");
    this.#isOpen = false;
  }

  #tell(end: string): void {
    this.#print?.(`Receiving pack: ${(this.#bytes / MEBIBYTE).toFixed(2)} MiB${end}`);
  }
}
