/**
 * receive-pack: takes a push. Specification: gitprotocol-pack "Pushing Data To a Server".
 *
 * commands → authorize → quarantine ← pack → connectivity → pre-receive → policy and update → publish →
 * proc-receive → push-to-checkout → refs → report → post-receive. Whatever fails before "publish" leaves nothing behind. A push that makes
 * its repository does all of it where nobody looks, and puts the repository in its place before the report.
 */
import { inStep } from "../../base/activity.js";
import type { ByteSink, ByteSource } from "../../base/byte-streams.js";
import { isGitwharfError, throwIfAborted } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { outcomeOf } from "../../base/request-outcome.js";
import { WorkBudget } from "../../engine/fetch/work-budget.js";
import { type IngestResult, ingestPack } from "../../engine/ingest/ingest-pack.js";
import type { PushCertificate, PushCommand } from "../../engine/push.js";
import { createPush, type PushView } from "../../engine/pushed/create-push.js";
import type { PushBase } from "../../engine/pushed/pushed-base.js";
import { describeOddSeverities } from "../../object/fsck/fsck-message.js";
import { isNullObjectId } from "../../object/object-id.js";
import type { Pack } from "../../pack/pack.js";
import type { Quarantine } from "../../storage/contracts/quarantine.js";
import type { Repository, Snapshot } from "../../storage/contracts/repository.js";
import { describeForPeer, isForTransport, type ServiceOutcome, type ServiceStreams } from "../service.js";
import { encodePktLine, PktLineReader } from "../wire/pkt-line.js";
import { sanitizeText } from "../wire/sanitize.js";
import {
  createSideBandWriter,
  type SerialSideBand,
  serializeSideBand,
  SIDE_BAND_64K_BYTES_MAX,
} from "../wire/side-band.js";
import { openCertificate } from "./push-certificate.js";
import { settleAliasedUpdates } from "./aliased-updates.js";
import { checkConnectivityOf, checkTagChains } from "./push-connectivity.js";
import { runHandlers, runPostReceive, runProcReceive, updateWorkTrees } from "./push-handlers.js";
import { createPushPrinter, type PushPrinter } from "./push-printer.js";
import { createPushRejections } from "./push-rejections.js";
import { redirectRef } from "./redirect-ref.js";
import { checkCommandName } from "./push-policy.js";
import { type PushRequest, readPushRequest } from "./push-request.js";
import type { PlacedRepository, ReceivePackContext } from "./receive-pack-context.js";
import { isSubstituted, type PushState, standing } from "./push-state.js";
import { reportDenial } from "./report-denial.js";
import { type CommandResult, formatReport } from "./report-status.js";
import { moveRefs } from "./move-refs.js";

/** A longer timer would fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;
const CARRIED_AT_ONCE = 64 * 1024;

/**
 * The advertisement has been sent already.
 * @throws base/aborted when the client has left; access/denied, server/busy and the like before anything was
 *   written, for the transport to answer
 */
export async function serveReceivePack(
  context: ReceivePackContext,
  streams: ServiceStreams,
): Promise<ServiceOutcome> {
  const { limits, settings, repository } = context;
  const reader = new PktLineReader(streams.input, {
    totalBytesMax: limits.commandBytesMax,
    limitName: "commandBytesMax",
    budget: context.requestBytes,
  });
  try {
    let request: PushRequest | undefined;
    let readsBands = false;
    try {
      request = await readPushRequest(reader, {
        objectFormat: repository.objectFormat,
        limits,
        acceptsOptions: settings.receive.advertisePushOptions,
        acceptsCertificates: settings.receive.certNonceSeed !== undefined,
        onCapabilities: (capabilities) => (readsBands = capabilities.has("side-band-64k")),
      });
    } catch (error) {
      if (context.signal.aborted || isForTransport(error, streams)) throw error;
      await refuse(streams.output, describeForPeer(error, context.activity), readsBands);
      return { failure: error };
    }
    if (request === undefined || request.commands.length === 0) return {};
    const denied = await reportDenial(context, streams, reader, request);
    return denied ?? (await takePush(context, streams, reader, request));
  } finally {
    await reader.close();
  }
}

/** A client that asked for side bands reads nothing else: an ERR line would be a band that does not exist. */
async function refuse(output: ByteSink, message: string, readsBands: boolean): Promise<void> {
  if (!readsBands) {
    await output.write(encodePktLine(`ERR ${message}`));
    return;
  }
  const bands = createSideBandWriter(output, { dataBytesMax: SIDE_BAND_64K_BYTES_MAX });
  await bands.fatal(`${message}\n`);
  await bands.flush();
}

async function takePush(
  context: ReceivePackContext,
  streams: ServiceStreams,
  reader: PktLineReader,
  request: PushRequest,
): Promise<ServiceOutcome> {
  const bands = request.capabilities.has("side-band-64k")
    ? serializeSideBand(createSideBandWriter(streams.output, { dataBytesMax: SIDE_BAND_64K_BYTES_MAX }))
    : undefined;
  try {
    return await carryOut(context, { request, streams, bands, source: reader.rest() });
  } catch (error) {
    // Clients say nothing of an answer that is an error of HTTP, or that breaks off.
    if (!isOurFault(error) || context.signal.aborted) throw error;
    const message = describeForPeer(error, context.activity);
    if (bands === undefined) await refuse(streams.output, message, false);
    else await bands.fatal(`${message}\n`);
    await bands?.flush();
    return { failure: error };
  }
}

function isOurFault(error: unknown): boolean {
  return isGitwharfError(error) && error.kind === "operational" && outcomeOf(error) === "failed";
}

interface PushAbout {
  readonly request: PushRequest;
  readonly streams: ServiceStreams;
  readonly bands: SerialSideBand | undefined;
  /** The pack. */
  readonly source: ByteSource;
}

async function carryOut(context: ReceivePackContext, about: PushAbout): Promise<ServiceOutcome> {
  const held: Held = {};
  let outcome: ServiceOutcome;
  try {
    outcome = await carryOutWith(context, about, held);
  } catch (error) {
    // That is what the push has failed of.
    await held.quarantine?.discard().catch(() => undefined);
    throw error;
  }
  try {
    await held.quarantine?.discard();
  } catch (failure) {
    // The pusher knows by now what became of the refs.
    return { failure, ...outcome };
  }
  return outcome;
}

/** What is discarded when the push is over. */
interface Held {
  quarantine?: Quarantine | undefined;
}

async function carryOutWith(
  context: ReceivePackContext,
  about: PushAbout,
  held: Held,
): Promise<ServiceOutcome> {
  const { request, bands } = about;
  const snapshot = await context.repository.snapshot();
  const timer = beginKeepAlive(bands, context.settings.receive.keepAliveSeconds);
  const printer = createPushPrinter(bands, request.capabilities);
  let quarantine: Quarantine | undefined;
  try {
    const results = await checkNames(context, request.commands);
    const needsPack = request.commands.some((command) => !isNullObjectId(command.newOid));
    if (needsPack || request.certificate !== undefined)
      held.quarantine = quarantine = await context.repository.openQuarantine();
    const open = { ...about, snapshot, quarantine, needsPack };
    const { ingest, certificate, failure: unpackFailure } = await unpack(context, open);
    let failure = unpackFailure;
    let { repository } = context;
    const printed = { ...open, results, printer, repositoryNow: () => repository };
    const state = createState(context, printed, certificate);
    if (failure !== undefined) for (const result of results) result.refusal ??= "unpacker error";
    else failure = await tellingFailures(state, () => decide(state, ingest));
    clearInterval(timer);
    const { place } = context;
    if (place !== undefined && makesRefs(state)) {
      let placed: PlacedRepository | undefined;
      const placeFailure = await tellingFailures(state, async () => {
        placed = await place();
      });
      failure ??= placeFailure;
      // The name was taken meanwhile: what stands there has refs, rules and hooks of its own.
      if (placed?.isOurs === false) {
        const { repository: faster, settings } = placed;
        const anew = { ...context, repository: faster, settings, place: undefined };
        return await carryOut(anew, { ...about, source: bytesOf(ingest?.pack) });
      }
      repository = placed?.repository ?? repository;
    }
    const warning = await context.recorder?.end(results, failure);
    if (warning !== undefined) await state.push.print(`warning: ${warning}\n`);
    try {
      await sendReport(state, about.streams.output, bands, unpackFailure);
    } finally {
      // The refs have moved, whether or not the pusher stayed to read of it.
      await inStep(context.activity, "post-receive", () => runPostReceive(state));
    }
    printer.end();
    await bands?.settled();
    await bands?.flush();
    return failure === undefined ? {} : { failure };
  } finally {
    printer.end();
    clearInterval(timer);
    snapshot.release();
  }
}

async function checkNames(
  context: ReceivePackContext,
  commands: readonly PushCommand[],
): Promise<readonly CommandResult[]> {
  const results: CommandResult[] = [];
  const budget = new WorkBudget({ signal: context.signal });
  for (const command of commands) {
    if (budget.spend(1)) await budget.pause();
    results.push({ command, refusal: checkCommandName(context, command), substitutes: [] });
  }
  return results;
}

/** A push that makes no ref makes no repository either. */
function makesRefs(state: PushState): boolean {
  return standing(state).some(({ command }) => !isNullObjectId(command.newOid));
}

async function* bytesOf(pack: Pack | undefined): ByteSource {
  if (pack === undefined) return;
  for (let at = 0; at < pack.bytes.sizeBytes; at += CARRIED_AT_ONCE) {
    const bytes = pack.bytes.read(at, CARRIED_AT_ONCE);
    // Borrowed bytes, to be handed over.
    yield Buffer.from(isPromise(bytes) ? await bytes : bytes);
  }
}

interface UnpackAbout extends PushAbout {
  readonly snapshot: Snapshot;
  readonly quarantine: Quarantine | undefined;
  readonly needsPack: boolean;
}

interface Unpacked {
  readonly ingest?: IngestResult;
  readonly certificate?: PushCertificate;
  readonly failure?: unknown;
}

/** The pack; and when there is nothing wrong with it, the certificate. */
async function unpack(context: ReceivePackContext, about: UnpackAbout): Promise<Unpacked> {
  const { request, snapshot, quarantine } = about;
  const unpacked = await unpackObjects(context, about);
  if (request.certificate === undefined || quarantine === undefined || unpacked.failure !== undefined)
    return unpacked;
  const { statelessRpc } = about.streams;
  try {
    const opened = { quarantine, snapshot, statelessRpc };
    return { ...unpacked, certificate: await openCertificate(context, request.certificate, opened) };
  } catch (failure) {
    if (context.signal.aborted) throw failure;
    return { failure };
  }
}

async function unpackObjects(context: ReceivePackContext, about: UnpackAbout): Promise<Unpacked> {
  const { request, snapshot, quarantine, bands } = about;
  if (!about.needsPack || quarantine === undefined) return {};
  const { receive } = context.settings;
  const quiet = bands === undefined || request.capabilities.has("quiet");
  try {
    if (receive.fsckObjects) {
      for (const line of describeOddSeverities(receive.fsckSeverities))
        await bands?.progress(`warning: ${line}\n`);
    }
    const ingest = await inStep(context.activity, "ingest", () =>
      ingestPack({
        quarantine,
        objects: snapshot.objects,
        source: about.source,
        objectFormat: context.repository.objectFormat,
        limits: context.limits,
        collisionDetection: context.collisionDetection,
        // git receives with warnings taken for errors.
        fsck: receive.fsckObjects
          ? { severities: receive.fsckSeverities, skipList: receive.fsckSkipList, strict: true }
          : undefined,
        maxInputSizeBytes: receive.maxInputSizeBytes,
        packObjects: context.packObjects,
        signal: context.signal,
        ...(quiet ? {} : { onProgress: (text: string) => void progress(bands, text) }),
      }),
    );
    context.activity?.note({ pushedObjects: ingest.objectCount });
    for (const warning of ingest.warnings) await bands?.progress(`warning: object ${warning}\n`);
    return { ingest };
  } catch (failure) {
    if (context.signal.aborted) throw failure;
    for (const line of findingsOf(failure)) await bands?.progress(`${line}\n`);
    return { failure };
  }
}

/** What the checks found in the object for which a pack was refused, as git tells it. */
function findingsOf(failure: unknown): readonly string[] {
  if (!isGitwharfError(failure, "object/malformed")) return [];
  const { findings } = failure.details;
  if (!Array.isArray(findings)) return [];
  return [...findings.map((line) => sanitizeText(String(line))), "fatal: fsck error in packed object"];
}

async function decide(state: PushState, ingest: IngestResult | undefined): Promise<void> {
  const { activity } = state.context;
  await inStep(activity, "connectivity", async () => {
    await checkConnectivityOf(state, ingest);
    if (ingest !== undefined) await checkTagChains(state);
  });
  await inStep(activity, "hooks", () => runHandlers(state));
  // A handler that has not looked at its signal may have agreed to a push of a client that is gone.
  throwIfAborted(state.context.signal);
  await recordIntent(state);
  if (standing(state).length > 0) await inStep(activity, "publish", () => state.quarantine?.publish());
  await runProcReceive(state);
  await updateWorkTrees(state);
  await inStep(activity, "refs", () => moveRefs(state));
  settleAliasedUpdates(state);
}

/**
 * What the server could not do is told of each ref that was to move: whether one of them has can then not be known here.
 * @returns what has failed
 * @throws it, when it is not the server's fault, or nobody could be told of refs
 */
async function tellingFailures(state: PushState, work: () => Promise<void>): Promise<unknown> {
  const { context, request, results } = state;
  try {
    await work();
    return undefined;
  } catch (error) {
    const { capabilities } = request;
    const readsReport = capabilities.has("report-status") || capabilities.has("report-status-v2");
    if (!isOurFault(error) || !readsReport || context.signal.aborted) throw error;
    const why = describeForPeer(error, context.activity);
    for (const result of results) if (!isSubstituted(result)) result.refusal ??= why;
    return error;
  }
}

async function recordIntent(state: PushState): Promise<void> {
  const { context, push } = state;
  const asked = standing(state);
  if (context.recorder === undefined || asked.length === 0) return;
  const refusal = await context.recorder.begin(
    push,
    asked.map(({ command }) => command),
  );
  if (refusal !== undefined) for (const result of asked) result.refusal = refusal;
}

async function sendReport(
  state: PushState,
  output: ByteSink,
  bands: SerialSideBand | undefined,
  failure: unknown,
): Promise<void> {
  const { capabilities } = state.request;
  const version = capabilities.has("report-status-v2")
    ? 2
    : capabilities.has("report-status")
      ? 1
      : undefined;
  if (version === undefined) return;
  const report = await formatReport(
    state.results,
    failure === undefined ? undefined : describeForPeer(failure, state.context.activity),
    version,
  );
  const written = bands === undefined ? output.write(report) : bands.data(report);
  if (isPromise(written)) await written;
}

interface StateAbout extends UnpackAbout {
  readonly results: readonly CommandResult[];
  readonly printer: PushPrinter;
  readonly repositoryNow: () => Repository;
}

function createState(
  context: ReceivePackContext,
  about: StateAbout,
  certificate: PushCertificate | undefined,
): PushState {
  const { request, snapshot, quarantine, printer, results } = about;
  const rejections = createPushRejections();
  const base: PushBase = {
    get repository() {
      return about.repositoryNow();
    },
    identity: context.identity,
    transport: context.transport,
    address: context.address,
    ...(context.facts === undefined ? {} : { facts: context.facts }),
    commands: request.commands,
    standing: () =>
      results
        .filter((result) => result.refusal === undefined && result.changedNothing !== true)
        .map(({ command }) => command),
    options: request.options,
    capabilities: request.capabilities,
    newShallow: request.shallow.filter((oid) => !snapshot.shallow.has(oid)),
    certificate,
    quarantine,
    snapshot,
    get objects() {
      return quarantine?.objects ?? snapshot.objects;
    },
    requestId: context.activity?.requestId,
    limits: context.limits,
    isTerminal: printer.isTerminal,
    print: (text, options, signal) => printer.print(text, options, signal),
    reject: (name, reason) => rejections.add(name, reason),
    redirect: (command, refName, options, signal) =>
      redirectRef(state, command, { ...options, refName, signal }),
  };
  const viewFor = (signal: AbortSignal): PushView => createPush(base, signal);
  const state: PushState = {
    ...viewFor(context.signal),
    viewFor,
    rejections,
    context,
    request,
    snapshot,
    results,
    quarantine,
    atomic: request.capabilities.has("atomic"),
  };
  return state;
}

/** @param seconds 0 or less: no signs of life */
function beginKeepAlive(bands: SerialSideBand | undefined, seconds: number): NodeJS.Timeout | undefined {
  if (bands === undefined || seconds <= 0) return undefined;
  return setInterval(() => void keepAlive(bands), Math.min(seconds * 1000, TIMER_MS_MAX));
}

async function keepAlive(bands: SerialSideBand): Promise<void> {
  try {
    await bands.keepAlive();
  } catch {
    // The next write that is awaited throws it where it is handled.
  }
}

async function progress(bands: SerialSideBand, text: string): Promise<void> {
  try {
    await bands.progress(text);
  } catch {
    // As above.
  }
}
