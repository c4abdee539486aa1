/**
 * One push to an upstream, from its commands to its pull request, in the order in which somebody may say no: what is asked for, the
 * guard, the upstream, the pack, the forge.
 */
import type { ByteSource } from "../../base/byte-streams.js";
import { linkSignals } from "../../base/linked-signal.js";
import type { Contribution } from "../../database/gateway-store.js";
import { isNullObjectId, type ObjectId } from "../../object/object-id.js";
import type { PushRequest } from "../../protocol/receive-pack/push-request.js";
import type { RepositoryStore } from "../../storage/contracts/repository.js";
import type { RemoteRef } from "../../client/remote-refs.js";
import type { RemoteRepository } from "../../client/remote-repository.js";
import { forgeTitle } from "../forges/forge-text.js";
import type { Forge } from "../forges/forge.js";
import { scrubMessage } from "../rewrite/scrub-message.js";
import type { Upstream } from "../upstream/find-upstream.js";
import { openUpstream, remoteAt } from "../upstream/open-upstream.js";
import { keyOfUpstream, type UpstreamAddress } from "../upstream-name.js";
import { UPSTREAM_PREFIXES } from "./advertise-upstream.js";
import { answerLines } from "./answer-text.js";
import type { ContributionGuard } from "./guard.js";
import { forkOnce, type Opening, openContribution, tell } from "./open-contribution.js";
import { showBytes } from "./passed-on-objects.js";
import { type PreparedContribution, prepareContribution } from "./prepare-contribution.js";
import { type ContributionOptions, readContributionOptions } from "./push-options.js";
import { pushToFork } from "./push-to-fork.js";
import { refuse } from "./refused.js";

export interface Contributing {
  readonly opening: Opening;
  readonly guard: ContributionGuard;
  /** Where pushes are worked on; nothing stays there. */
  readonly scratch: RepositoryStore;
}

export interface PushToUpstream {
  readonly address: UpstreamAddress;
  readonly clientAddress: string | undefined;
  readonly request: Pick<PushRequest, "commands" | "options" | "shallow">;
  /** The pack. */
  readonly source: ByteSource;
  /** For the person, line by line. */
  readonly say: (line: string) => void;
  readonly onProgress: (text: string) => void;
  /** The client has left, or the gateway closes. Once there is a row, it is gone on with all the same. */
  readonly signal: AbortSignal;
}

const HEADS = "refs/heads/";

/** @returns what is said at the end @throws Refused, forge/…, client/…, base/aborted, database/unavailable, storage/io */
export async function contribute(
  contributing: Contributing,
  push: PushToUpstream,
): Promise<readonly string[]> {
  const { closing, settings } = contributing.opening;
  const here = linkSignals(push.signal, closing);
  // From the row on nothing depends on the client.
  const working = linkSignals(AbortSignal.timeout(settings.limits.pushTimeoutMs), closing);
  try {
    return await carryOut(contributing, { ...push, signal: here.signal }, working.signal);
  } finally {
    here.release();
    working.release();
  }
}

async function carryOut(
  contributing: Contributing,
  push: PushToUpstream,
  working: AbortSignal,
): Promise<readonly string[]> {
  const { opening, guard, scratch } = contributing;
  const { settings, upstreams } = opening;
  const { limits } = settings;
  const { address, signal } = push;
  const options = readContributionOptions(push.request.options);
  const command = oneBranch(push.request.commands);
  const refused = await guard.admit({
    clientAddress: push.clientAddress,
    address,
    upstream: () => upstreams.find(address, signal),
    signal,
  });
  if (refused !== undefined) throw refuse(refused.reason, ...refused.lines);
  // What was advertised may be old.
  const upstream = await upstreams.findAnew(address, signal);
  checkUpstream(upstream, limits.repositoryBytesMax);
  for (const key of options.unknown) push.say(`The push option '${key}' is not known here.`);
  const previous = await findPrevious(contributing, push, options);

  const remote = await openUpstream(upstream, { signal, limits });
  const prepared = await scratch.prepare(`contribution-${crypto.randomUUID()}`);
  try {
    const { refs } = await remote.listRefs({ prefixes: UPSTREAM_PREFIXES });
    const base = baseOf(upstream, refs, command.name);
    const quarantine = await prepared.repository.openQuarantine();
    const snapshot = await prepared.repository.snapshot();
    try {
      const seconds = Math.floor(Date.now() / 1000);
      const contribution = await prepareContribution({
        source: push.source,
        tip: command.newOid,
        upstream: remote,
        refs,
        quarantine,
        snapshot,
        identity: settings.identity,
        seconds,
        isScrubbed: settings.scrubMessages,
        isSquashed: options.isSquashed ?? settings.squash,
        limits,
        onProgress: push.onProgress,
        signal,
      });
      push.onProgress(
        `Anonymized ${contribution.commits} commit${contribution.commits === 1 ? "" : "s"}; asking ${upstream.forge.host} …\n`,
      );
      const toFork = (branch: string, isUpdate: boolean) => (fork: RemoteRepository) =>
        pushWith({ fork, upstream, branch, isUpdate, signal: working });
      const pushWith = async (about: {
        readonly fork: RemoteRepository;
        readonly upstream: Upstream;
        readonly branch: string;
        readonly isUpdate: boolean;
        readonly signal: AbortSignal;
      }): Promise<void> => {
        const again = await openUpstream(upstream, { signal: about.signal, limits });
        try {
          await pushToFork({
            ...about,
            upstream: again,
            prepared: contribution,
            quarantine,
            snapshot,
            bytesMax: limits.pushBytesMax,
          });
        } finally {
          again.close();
        }
      };
      const forge = options.token === undefined ? upstream.forge : upstream.forge.withToken(options.token);
      const { owner, repo } = upstream.repository;
      const key = keyOfUpstream({ ...address, owner, repo });
      const outcome =
        previous === undefined
          ? await openContribution(
              opening,
              {
                address,
                name: upstream.repository,
                forge,
                fork:
                  options.token === undefined
                    ? await forkOnce(opening, { key, forge, name: upstream.repository }, working)
                    : await forge.fork(upstream.repository, { signal: working }),
                isOwnAccount: options.token !== undefined,
                base,
                tip: contribution.tip,
                seconds,
                ...wordsOf(contribution, options, contributing),
                push: (branch, fork, held) =>
                  pushWith({ fork, upstream, branch, isUpdate: false, signal: held }),
              },
              working,
            )
          : await update(contributing, {
              previous,
              forge,
              upstream,
              tip: contribution.tip,
              push: toFork(previous.branch, true),
              signal: working,
            });
      return answerLines({
        ...outcome,
        identity: settings.identity,
        commits: contribution.commits,
        pushedTo: command.name.slice(HEADS.length),
        further: opening.listeners.flatMap(({ answerLines: more }) => more?.(outcome.contribution) ?? []),
      });
    } finally {
      snapshot.release();
      await quarantine.discard();
    }
  } finally {
    remote.close();
    await prepared.discard();
  }
}

/** @throws Refused */
function oneBranch(commands: PushRequest["commands"]): { readonly name: string; readonly newOid: ObjectId } {
  const [command] = commands;
  if (command === undefined || commands.length > 1)
    throw refuse("one branch at a time", "A contribution is one branch: push one ref at a time.");
  if (isNullObjectId(command.newOid))
    throw refuse("deletion refused", "Nothing of the upstream can be deleted from here.");
  if (command.name.startsWith("refs/tags/"))
    throw refuse("tags are not taken", "A pull request carries commits, not tags: push a branch.");
  if (!command.name.startsWith(HEADS) || command.name.length === HEADS.length)
    throw refuse("not a branch", "Only branches can be contributed: git push gost HEAD:my-branch");
  return command;
}

/** @throws Refused */
function checkUpstream({ repository }: Upstream, bytesMax: number): void {
  const { isEmpty, isArchived, sizeBytes = 0 } = repository;
  if (isEmpty)
    throw refuse(
      "the upstream is empty",
      "The upstream has no commits: a pull request has nothing to stand on.",
    );
  if (isArchived)
    throw refuse("the upstream is archived", "The upstream is archived and takes no pull requests.");
  if (sizeBytes > bytesMax)
    throw refuse(
      "the upstream is too large",
      `The upstream has more than ${showBytes(bytesMax)}, which is the most that is taken here.`,
    );
}

/** @throws Refused */
function baseOf({ repository }: Upstream, refs: readonly RemoteRef[], pushedTo: string): string {
  const names = new Set(refs.map(({ name }) => name));
  if (names.has(pushedTo)) return pushedTo.slice(HEADS.length);
  if (names.has(`${HEADS}${repository.defaultBranch}`)) return repository.defaultBranch;
  throw refuse(
    "the upstream's branch is gone",
    `The upstream has no branch '${repository.defaultBranch}', which is its default one. Push to one that it has.`,
  );
}

/** @returns the open contribution that is to be updated; undefined: a new one is made @throws Refused */
async function findPrevious(
  { opening }: Contributing,
  push: PushToUpstream,
  { prHash, token }: ContributionOptions,
): Promise<Contribution | undefined> {
  if (prHash === undefined) return undefined;
  const { store, upstreams } = opening;
  const { address, signal } = push;
  const upstream = await upstreams.find(address, signal);
  const { owner, repo } = upstream.repository;
  const found = await store.byHash(prHash);
  if (found === undefined || found.upstream.key !== keyOfUpstream({ ...address, owner, repo }))
    throw refuse("unknown pr-hash", `There is no contribution ${prHash} to ${owner}/${repo}.`);
  if (found.state === "received" || found.state === "pushed")
    throw refuse(
      "not opened yet",
      `The pull request of ${prHash} is not open yet: the forge could not. Try again later.`,
    );
  if (found.isOwnAccount && token === undefined)
    throw refuse(
      "token needed",
      "This pull request was opened by an account of yours: push with -o github-token=TOKEN again.",
    );
  if (!found.isOwnAccount && token !== undefined)
    throw refuse("token not needed", "This pull request was opened by our account: push without a token.");
  const pull =
    found.state === "opened" && found.pullNumber !== undefined
      ? await upstream.forge.pullRequest(upstream.repository, found.pullNumber, { signal })
      : undefined;
  if (pull?.state === "open") return found;
  push.say(
    `The pull request of ${prHash} is ${pull?.state ?? "not there any more"}: a new one will be opened.`,
  );
  return undefined;
}

async function update(
  { opening }: Contributing,
  about: {
    readonly previous: Contribution;
    readonly forge: Forge;
    readonly upstream: Upstream;
    readonly tip: ObjectId;
    readonly push: (fork: RemoteRepository) => Promise<void>;
    readonly signal: AbortSignal;
  },
): Promise<{ readonly kind: "updated"; readonly contribution: Contribution }> {
  const { store, settings } = opening;
  const { previous, forge, upstream, tip, signal } = about;
  const account = previous.isOwnAccount ? {} : { account: previous.forkOwner };
  const fork = await forge.fork(upstream.repository, { ...account, signal });
  const remote = remoteAt(fork.cloneUrl, fork.credentials, {
    signal,
    limits: settings.limits,
    allowAddresses: upstream.allowAddresses,
  });
  try {
    await about.push(remote);
  } finally {
    remote.close();
  }
  await store.markUpdated(previous.id, tip);
  const contribution = { ...previous, headOid: tip };
  await tell(opening, { kind: "updated", contribution });
  return { kind: "updated", contribution };
}

function wordsOf(
  { message, people }: PreparedContribution,
  options: ContributionOptions,
  { opening }: Contributing,
): { readonly title: string; readonly body: string } {
  const { title, disclaimer, scrubMessages } = opening.settings;
  const [subject = ""] = message.trim().split("\n", 1);
  const own = options.title;
  const words =
    own !== undefined
      ? (scrubMessages ? scrubMessage(own, people) : own).trim()
      : typeof title === "string"
        ? title
        : subject;
  return {
    title: forgeTitle(words === "" ? "Contribution" : words),
    body: `${message.trim()}\n\n---\n\n${disclaimer}\n`,
  };
}
