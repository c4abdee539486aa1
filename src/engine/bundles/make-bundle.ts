/**
 * Making the bundle that clones begin with: the branches and tags that everybody may see who reads the repository at all,
 * and everything that they lead to.
 * Specification: gitformat-bundle (`server/bundle-file.ts` reads them).
 */
import type { ObjectFormat } from "../../object/object-format.js";
import type { Ref } from "../../storage/contracts/ref-store.js";
import type { Repository, Snapshot } from "../../storage/contracts/repository.js";
import type { BundleRef, StoredBundle } from "../../storage/contracts/repository-bundles.js";
import { planPack } from "../pack-plan.js";
import { streamPack } from "../pack-stream.js";
import { areReachable } from "../reachability.js";

export interface MakeBundleOptions {
  /** Of a repository whose packs have fewer bytes none is made. */
  readonly sizeBytesMin: number;
  readonly isVisible: (refName: string) => boolean;
  readonly signal: AbortSignal;
}

/** A list of more would take longer to read and to check than it saves: then it is of branches alone, the first of them. */
const REFS_MAX = 1000;
/** It is made anew when so much more is there than when it was made. */
const GROWTH = 1.25;

/** @returns whether one was made. @throws storage/io, object/corrupt, base/aborted */
export async function makeBundle(repository: Repository, options: MakeBundleOptions): Promise<boolean> {
  const { bundles, objectFormat } = repository;
  if (bundles === undefined) return false;
  const { signal } = options;
  const snapshot = await repository.snapshot();
  try {
    const packsBytes = snapshot.objects.packs.reduce((sum, { bytes }) => sum + bytes.sizeBytes, 0);
    // What cuts a history off cannot be told in a bundle.
    if (packsBytes < options.sizeBytesMin || snapshot.shallow.size > 0) return false;
    const { isVisible } = options;
    const about = { snapshot, tips: visibleTips(snapshot, isVisible), isVisible, signal };
    const isNeeded = async (): Promise<boolean> => {
      const last = await bundles.find();
      return (
        last === undefined ||
        packsBytes > last.packsBytes * GROWTH ||
        !(await mayBeShown(last, about)) ||
        !(await last.hold())
      );
    };
    if (!(await isNeeded())) return false;
    return await bundles.make(async () => {
      // Somebody else may have made one meanwhile.
      if (!(await isNeeded())) return undefined;
      const refs = refsOf(snapshot, isVisible);
      if (refs.length === 0) return undefined;
      return { refs, packsBytes, bytes: bundleOf(snapshot, { refs, objectFormat, signal }) };
    }, signal);
  } finally {
    snapshot.release();
  }
}

/**
 * Whether all that a bundle holds is reachable from these tips, and none of the names in its head is hidden: then whoever sees
 * them may have it.
 * @throws base/aborted, object/corrupt, storage/io
 */
export async function mayBeShown(
  { refs }: Pick<StoredBundle, "refs">,
  about: {
    readonly snapshot: Snapshot;
    readonly tips: ReadonlySet<string>;
    readonly isVisible: (refName: string) => boolean;
    readonly signal: AbortSignal;
  },
): Promise<boolean> {
  const { snapshot, tips, isVisible, signal } = about;
  if (!refs.every(({ name }) => isVisible(name))) return false;
  const asked = refs.map(({ oid }) => oid).filter((oid) => !tips.has(oid));
  return asked.length === 0 || (await areReachable(snapshot, asked, [...tips], signal)).length === 0;
}

function visibleTips({ refs }: Snapshot, isVisible: (refName: string) => boolean): ReadonlySet<string> {
  return new Set(refs.all.filter(({ name }) => isVisible(name)).map(({ oid }) => oid));
}

function refsOf({ refs }: Snapshot, isVisible: (refName: string) => boolean): readonly BundleRef[] {
  const some = (prefix: string): readonly Ref[] =>
    refs
      .startingWith(prefix)
      .filter(({ name, symbolicTarget }) => isVisible(name) && symbolicTarget === undefined);
  const heads = some("refs/heads/");
  const all = [...heads, ...some("refs/tags/")];
  return (all.length > REFS_MAX ? heads.slice(0, REFS_MAX) : all).map(({ name, oid }) => ({ name, oid }));
}

async function* bundleOf(
  snapshot: Snapshot,
  about: {
    readonly refs: readonly BundleRef[];
    readonly objectFormat: ObjectFormat;
    readonly signal: AbortSignal;
  },
): AsyncGenerator<Uint8Array, void, void> {
  const { refs, objectFormat, signal } = about;
  yield Buffer.from(formatBundleHead(refs, objectFormat));
  const wants = [...new Set(refs.map(({ oid }) => oid))];
  const plan = await planPack({ snapshot, wants, haves: [], ofsDelta: true, signal });
  try {
    yield* streamPack(plan, { signal });
  } finally {
    plan.release();
  }
}

function formatBundleHead(refs: readonly BundleRef[], objectFormat: ObjectFormat): string {
  const first =
    objectFormat === "sha1" ? "# v2 git bundle\n" : `# v3 git bundle\n@object-format=${objectFormat}\n`;
  return `${first}${refs.map(({ oid, name }) => `${oid} ${name}\n`).join("")}\n`;
}
