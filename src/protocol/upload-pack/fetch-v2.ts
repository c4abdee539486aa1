/**
 * The v2 command `fetch`. Specification: gitprotocol-v2 "fetch".
 *
 *     haves, no done:  acknowledgments; where these say `ready`, what follows stands behind them
 *     else:            [shallow-info] [wanted-refs] packfile
 */
import { GitwharfError } from "../../base/errors.js";
import { inStep } from "../../base/activity.js";
import { isPromise } from "../../base/maybe-promise.js";
import { WorkBudget } from "../../engine/fetch/work-budget.js";
import type { ObjectFilter } from "../../engine/filter.js";
import { createNegotiation, type Negotiation } from "../../engine/negotiation.js";
import type { PackPlan } from "../../engine/pack-plan.js";
import type { ShallowBoundary } from "../../engine/shallow.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import { describeForPeer } from "../service.js";
import { formatAcknowledgment } from "../wire/acknowledgment.js";
import { type CommandRequest, readArguments } from "../wire/command-request.js";
import { takeFetchArgument } from "../wire/fetch-arguments.js";
import { checkFetchRequest, createFetchRequest, type FetchRequest } from "../wire/fetch-request.js";
import { DELIM, encodePktLine, FLUSH } from "../wire/pkt-line.js";
import { quoteLine } from "../wire/request-line.js";
import { formatShallowLine } from "../wire/shallow-line.js";
import { createSideBandWriter, SIDE_BAND_64K_BYTES_MAX } from "../wire/side-band.js";
import { allowedFilter } from "./allowed-filter.js";
import { checkWants } from "./check-wants.js";
import { TIMER_MS_MAX, withKeepAlive } from "./keep-alive.js";
import { PackPhaseFailure } from "./pack-phase-failure.js";
import { ownShallow, resolveShallow } from "./resolve-shallow.js";
import { formatPackAddresses, packAddresses } from "./packfile-uris.js";
import { planFetch, sendPack } from "./send-pack.js";
import { shownHaves } from "./shown-haves.js";
import { fetchFeatures } from "./upload-pack-capabilities.js";
import { takeSnapshot, type UploadPackContext } from "./upload-pack-context.js";
import type { V2Conversation } from "./upload-pack-v2.js";
import { visibleRefs, type VisibleRefs } from "./visible-refs.js";

export async function answerFetch(conversation: V2Conversation, command: CommandRequest): Promise<void> {
  const { context, reader, output } = conversation;
  const request = createFetchRequest();
  const lineContext = {
    objectFormat: context.repository.objectFormat,
    limits: context.limits,
    features: fetchFeatures(context),
  };
  await readArguments(reader, command, (line) => takeFetchArgument(request, line, lineContext));
  checkFetchRequest(request);
  const bands = createSideBandWriter(output, { dataBytesMax: SIDE_BAND_64K_BYTES_MAX });
  const snapshot = await takeSnapshot(context);
  try {
    const about = { context, snapshot, request, refs: visibleRefs(context, snapshot.refs) };
    const preparing = prepareWithAddresses(about);
    let answer: Answer;
    if (!request.sidebandAll) answer = await preparing;
    else {
      // Here a sign of life may stand between any two lines, and an error is told on band 3.
      const beat = async (): Promise<void> => {
        await bands.keepAlive();
        await output.flush();
      };
      try {
        answer = await withKeepAlive(preparing, {
          seconds: context.settings.uploadPack.keepAliveSeconds,
          beat,
        });
      } catch (error) {
        await preparing.catch(() => undefined);
        if (context.signal.aborted) throw error;
        await bands.fatal(`${describeForPeer(error, context.activity)}\n`);
        throw new PackPhaseFailure(error);
      }
    }
    // In one piece: there may be more of them than a call takes arguments.
    const { pack } = answer;
    if (pack === undefined) {
      await output.write(Buffer.concat(answer.lines));
      return;
    }
    await output.write(Buffer.concat([...answer.lines, lineFor(request, "packfile\n")]));
    await sendPack({ ...about, ...pack, output, bands });
  } finally {
    snapshot.release();
  }
}

/** Where the client gets packs from elsewhere, the plan is made first: they stand in front of what is sent. */
async function prepareWithAddresses(about: FetchAbout): Promise<Answer> {
  const { context, request } = about;
  const answer = await inStep(context.activity, "negotiate", () => prepareAnswer(about));
  const { pack } = answer;
  const addresses = pack === undefined ? undefined : await packAddresses(about);
  if (pack === undefined || addresses === undefined || addresses.size === 0) return answer;
  const plan = await planInTime({ ...about, ...pack }, [...addresses.keys()]);
  if (plan === undefined) return answer;
  const lines = formatPackAddresses(plan.data.elsewhere ?? [], addresses);
  if (lines.length === 0) return { ...answer, pack: { ...pack, plan } };
  const section = ["packfile-uris\n", ...lines].map((text) => lineFor(request, text));
  return { lines: [...answer.lines, ...section, DELIM], pack: { ...pack, plan } };
}

/**
 * Without `sideband-all` nothing can be said to the client meanwhile. So that no connection is taken for dead, one that would have to
 * wait for longer than until a sign of life is due gets all of the pack from here, with such signs.
 * @returns undefined: it would take too long
 */
async function planInTime(
  options: Parameters<typeof planFetch>[0],
  elsewhere: readonly string[],
): Promise<PackPlan | undefined> {
  const { context, request } = options;
  const { signal } = context;
  const seconds = context.settings.uploadPack.keepAliveSeconds;
  if (request.sidebandAll || seconds <= 0) return planFetch(options, signal, elsewhere);
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), Math.min(seconds * 1000, TIMER_MS_MAX));
  try {
    return await planFetch(options, AbortSignal.any([signal, patience.signal]), elsewhere);
  } catch (error) {
    if (signal.aborted || !patience.signal.aborted) throw error;
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}

function lineFor({ sidebandAll }: FetchRequest, text: string): Buffer {
  return encodePktLine(sidebandAll ? `\x01${text}` : text);
}

interface FetchAbout {
  readonly context: UploadPackContext;
  readonly snapshot: Snapshot;
  readonly request: FetchRequest;
  readonly refs: VisibleRefs;
}

/** Everything before the pack, worked out but not written. */
interface Answer {
  readonly lines: readonly Buffer[];
  /** undefined: the answer ends here. */
  readonly pack:
    | {
        readonly filter: ObjectFilter | undefined;
        readonly commons: readonly ObjectId[];
        readonly boundary: ShallowBoundary | undefined;
        /** Where it had to be made first. */
        readonly plan?: PackPlan;
      }
    | undefined;
}

async function prepareAnswer(about: FetchAbout): Promise<Answer> {
  const { context, snapshot, request, refs } = about;
  const filter = allowedFilter(context, request.filterSpec);
  const wantedRefs = resolveWantRefs(refs, request);
  if (request.wants.size === 0 && !request.waitForDone) return { lines: [], pack: undefined };
  await checkWants({ context, snapshot, refs, statelessRpc: true }, request.wants);
  const line = (text: string): Buffer => lineFor(request, text);
  const lines: Buffer[] = [];
  const negotiation = await negotiate(about);
  const { commons } = negotiation;
  if (request.haves.length > 0 && !request.done) {
    lines.push(line("acknowledgments\n"));
    if (commons.length === 0) lines.push(line(formatAcknowledgment({ kind: "nak" })));
    const budget = new WorkBudget({ signal: context.signal });
    for (const oid of commons) {
      if (budget.spend(0.2)) await budget.pause();
      lines.push(line(formatAcknowledgment({ kind: "ack", oid })));
    }
    if (request.waitForDone || !(await negotiation.isReady()))
      return { lines: [...lines, FLUSH], pack: undefined };
    lines.push(line(formatAcknowledgment({ kind: "ready" })), DELIM);
  }
  await context.beforeUpload?.(request.wants);
  const boundary = await shallowInfo(about);
  if (boundary !== undefined) {
    lines.push(line("shallow-info\n"));
    for (const oid of boundary.shallow) lines.push(line(formatShallowLine({ kind: "shallow", oid })));
    for (const oid of boundary.unshallow) lines.push(line(formatShallowLine({ kind: "unshallow", oid })));
    lines.push(DELIM);
  }
  if (wantedRefs.length > 0) {
    lines.push(line("wanted-refs\n"));
    for (const { name, oid } of wantedRefs) lines.push(line(`${oid} ${name}\n`));
    lines.push(DELIM);
  }
  return { lines, pack: { filter, commons, boundary } };
}

async function negotiate(about: FetchAbout): Promise<Negotiation> {
  const { context, snapshot, request } = about;
  const { signal } = context;
  const negotiation = createNegotiation({
    snapshot,
    wants: [...request.wants],
    clientShallow: [...request.clientShallow],
    signal,
  });
  const shown = await shownHaves(about, request.haves);
  const budget = new WorkBudget({ signal });
  for (const oid of request.haves) {
    if (budget.spend(1)) await budget.pause();
    if (shown !== undefined && !shown.has(oid)) continue;
    const added = negotiation.addHave(oid);
    if (isPromise(added)) await added;
  }
  return negotiation;
}

/** undefined: there is no such section, since neither side is shallow or gets to be. */
async function shallowInfo(about: FetchAbout): Promise<ShallowBoundary | undefined> {
  const boundary = await resolveShallow(about);
  if (boundary !== undefined) return boundary;
  if (about.snapshot.shallow.size > 0) return ownShallow(about);
  return about.request.clientShallow.size > 0 ? { shallow: [], unshallow: [] } : undefined;
}

interface WantedRef {
  readonly name: string;
  readonly oid: ObjectId;
}

/** Adds what the named refs lead to to the wants. @throws protocol/not-our-ref for one that is not there or hidden */
function resolveWantRefs(refs: VisibleRefs, request: FetchRequest): readonly WantedRef[] {
  const wanted: WantedRef[] = [];
  for (const name of request.wantRefs) {
    const oid = name === "HEAD" ? refs.head.oid : refs.get(name)?.oid;
    if (oid === undefined) throw new GitwharfError("protocol/not-our-ref", `unknown ref ${quoteLine(name)}`);
    wanted.push({ name, oid });
  }
  for (const { oid } of wanted) request.wants.add(oid);
  return wanted;
}
