/**
 * upload-archive: answers `git archive --remote`. Specification: git-upload-archive.
 *
 *     argument … 0000        the request
 *     ACK LF 0000            then side-band: band 1 the archive, band 2 names (`-v`), band 3 what went wrong; 0000
 *     NACK <why> LF          in place of ACK: nothing was begun
 */
import { inStep } from "../../base/activity.js";
import { GitwharfError, throwIfAborted } from "../../base/errors.js";
import { matchesAnything } from "../../engine/archive/find-path.js";
import { createFormatSubstitution } from "../../engine/archive/format-substitution.js";
import { parsePathSelection } from "../../engine/archive/path-selection.js";
import { ARCHIVE_FORMATS, writeArchive } from "../../engine/archive/write-archive.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import { describeForPeer, type ServiceOutcome, type ServiceStreams } from "../service.js";
import { withKeepAlive } from "../upload-pack/keep-alive.js";
import { visibleRefs } from "../upload-pack/visible-refs.js";
import { encodePktLine, FLUSH, PktLineReader } from "../wire/pkt-line.js";
import { quoteLine } from "../wire/request-line.js";
import { createSideBandWriter, SIDE_BAND_64K_BYTES_MAX, type SideBandWriter } from "../wire/side-band.js";
import { type ArchiveArguments, parseArchiveArguments, readArchiveArguments } from "./archive-arguments.js";
import { decorationsOf } from "./decorations.js";
import { type ResolvedTree, resolveTreeish } from "./resolve-tree-ish.js";
import type { UploadArchiveContext } from "./upload-archive-context.js";

/** @throws base/aborted when the client has left: nothing can be told any more */
export async function serveUploadArchive(
  context: UploadArchiveContext,
  streams: Pick<ServiceStreams, "input" | "output">,
): Promise<ServiceOutcome> {
  const { limits, signal } = context;
  const { input, output } = streams;
  const reader = new PktLineReader(input, {
    totalBytesMax: limits.requestBytesMax,
    limitName: "requestBytesMax",
    budget: context.requestBytes,
  });
  const sideBand = createSideBandWriter(output, { dataBytesMax: SIDE_BAND_64K_BYTES_MAX });
  let snapshot: Snapshot | undefined;
  let isAcknowledged = false;
  try {
    const asked = parseArchiveArguments(await readArchiveArguments(reader));
    if (asked.kind === "list") {
      await output.write(...ACKNOWLEDGED);
      isAcknowledged = true;
      await sideBand.data(Buffer.from(`${ARCHIVE_FORMATS.join("\n")}\n`));
    } else {
      snapshot = await context.repository.snapshot();
      const resolved = await resolve(context, snapshot, asked);
      await context.beforeUpload?.([resolved.origin.commit ?? resolved.tree]);
      await output.write(...ACKNOWLEDGED);
      isAcknowledged = true;
      const about = { asked, resolved, snapshot };
      await inStep(context.activity, "send", () => send(context, sideBand, about));
    }
    await sideBand.flush();
    return {};
  } catch (failure) {
    if (signal.aborted) throw failure;
    const text = describeForPeer(failure, context.activity);
    if (isAcknowledged) await sideBand.fatal(`fatal: ${text}\n`);
    else await output.write(encodePktLine(`NACK ${text}\n`));
    return { failure };
  } finally {
    snapshot?.release();
    await reader.close();
  }
}

const ACKNOWLEDGED = [encodePktLine("ACK\n"), FLUSH];

type Asked = Extract<ArchiveArguments, { readonly kind: "archive" }>;

/** @throws protocol/bad-request, object/corrupt, object/malformed, base/aborted */
async function resolve(
  context: UploadArchiveContext,
  snapshot: Snapshot,
  asked: Asked,
): Promise<ResolvedTree> {
  const { settings, limits, signal, isHiddenRef } = context;
  const { objects } = snapshot;
  const refs = visibleRefs(context, snapshot.refs);
  // What policies hide from the caller is not opened by what the repository says of itself.
  const allowUnreachable = isHiddenRef === undefined && settings.uploadArchive.allowUnreachable;
  const entriesMax = limits.archiveEntriesMax;
  const resolved = await resolveTreeish({ objects, refs, allowUnreachable, entriesMax }, asked.treeish);
  // All together: there is a limit on that.
  parsePathSelection(asked.paths);
  for (const path of asked.paths) {
    const selection = parsePathSelection([path]);
    if (!(await matchesAnything(objects, resolved.tree, { selection, entriesMax, signal }))) {
      const shown = quoteLine(Buffer.from(path, "latin1").toString("utf8"));
      throw new GitwharfError("protocol/bad-request", `pathspec '${shown}' did not match any files`);
    }
  }
  return resolved;
}

async function send(
  context: UploadArchiveContext,
  sideBand: SideBandWriter,
  what: { readonly asked: Asked; readonly resolved: ResolvedTree; readonly snapshot: Snapshot },
): Promise<void> {
  const { settings, limits, signal } = context;
  const { asked, resolved, snapshot } = what;
  const seconds = settings.uploadPack.keepAliveSeconds;
  const beat = async (): Promise<void> => sideBand.keepAlive();
  const { objects } = snapshot;
  const { commit } = resolved.origin;
  const decorations = (): Promise<readonly string[]> =>
    decorationsOf(objects, visibleRefs(context, snapshot.refs), commit ?? "");
  let names: string[] = [];
  const chunks = writeArchive({
    ...resolved,
    objects,
    substitution:
      commit === undefined ? undefined : createFormatSubstitution({ objects, commit, decorations }),
    prefix: asked.prefix,
    selection: parsePathSelection(asked.paths),
    limits,
    signal,
    format: asked.format,
    level: asked.level,
    onEntry: asked.isVerbose ? ({ path }) => void names.push(path) : undefined,
  });
  const sendNames = async (): Promise<void> => {
    const text = Buffer.from(names.map((name) => `${name}\n`).join(""), "latin1").toString("utf8");
    names = [];
    await sideBand.progress(text);
  };
  try {
    for (;;) {
      throwIfAborted(signal);
      const next = await withKeepAlive(chunks.next(), { seconds, beat });
      if (names.length > 0) await sendNames();
      if (next.done === true) return;
      await sideBand.data(next.value);
    }
  } finally {
    await chunks.return();
  }
}
