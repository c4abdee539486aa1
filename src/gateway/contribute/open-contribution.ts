/**
 * From rewritten commits to one pull request, in steps of which each is written down before the next:
 *
 *     fork → row "received" → branch pushed → row "pushed" → pull request → row "opened"
 *
 * Whoever takes the steps has a lease of the row. What a crash leaves behind is taken up when the lease has ended: whether the
 * branch is there, the fork says, and whether the pull request is, the forge, by its branch. So there is never a second one.
 */
import { randomUUID } from "node:crypto";
import { GitwharfError, isGitwharfError, throwIfAborted } from "../../base/errors.js";
import { linkSignals } from "../../base/linked-signal.js";
import type { Contribution, GatewayStore } from "../../database/gateway-store.js";
import type { RemoteRepository } from "../../client/remote-repository.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Fork, Forge } from "../forges/forge.js";
import type { GatewaySettings } from "../gateway-options.js";
import type { Upstreams } from "../upstream/find-upstream.js";
import { remoteAt } from "../upstream/open-upstream.js";
import { keyOfUpstream, type UpstreamAddress, type UpstreamName } from "../upstream-name.js";
import { refusalOfForge } from "./answer-text.js";
import { branchAt, hashOfBranch } from "./contribution-identity.js";
import type { ContributionEvent, ContributionListener } from "./guard.js";
import { refuse, Refused } from "./refused.js";

export interface Opening {
  readonly store: GatewayStore;
  readonly settings: GatewaySettings;
  readonly upstreams: Upstreams;
  readonly listeners: readonly ContributionListener[];
  /** This process, in leases. */
  readonly owner: string;
  readonly log: (message: string, error: unknown) => void;
  /** By upstream: one that is being made by our account, which two at once would make twice. */
  readonly forking: Map<string, Promise<Fork>>;
  /** Fires when the gateway closes. */
  readonly closing: AbortSignal;
}

export interface NewPull {
  readonly address: UpstreamAddress;
  /** As the forge writes it. */
  readonly name: UpstreamName;
  readonly forge: Forge;
  readonly fork: Fork;
  readonly isOwnAccount: boolean;
  readonly base: string;
  readonly tip: ObjectId;
  readonly seconds: number;
  readonly title: string;
  readonly body: string;
  readonly push: (branch: string, fork: RemoteRepository, signal: AbortSignal) => Promise<void>;
}

const BRANCH_ATTEMPTS_MAX = 60;
/** Taken up at once. */
const REPAIRS_MAX = 50;

/** @throws Refused, base/aborted, database/unavailable */
export async function openContribution(
  opening: Opening,
  pull: NewPull,
  signal: AbortSignal,
): Promise<{ readonly kind: "opened" | "waiting"; readonly contribution: Contribution }> {
  const { store, settings } = opening;
  const { leaseMs } = settings.limits;
  const added = await addRow(opening, pull);
  return holding(opening, added.id, signal, async (held) => {
    const remote = remoteAt(pull.fork.cloneUrl, pull.fork.credentials, {
      signal: held,
      limits: settings.limits,
      allowAddresses: opening.upstreams.allowAddressesOf(pull.address.forge, pull.address.host),
    });
    try {
      await pull.push(added.branch, remote, held);
    } catch (error) {
      throw await afterFailedPush(opening, added, error, remote);
    } finally {
      remote.close();
    }
    await store.markPushed(added.id);
    try {
      return { kind: "opened", contribution: await openPull(opening, { ...added, ...pull }, held) };
    } catch (error) {
      throwIfAborted(held);
      const mayPass = isGitwharfError(error) && (error.retryable || error.code === "forge/bad-answer");
      if (!mayPass || pull.isOwnAccount) {
        await fail(opening, added, "the forge did not open the pull request");
        throw refusalOfForge(error, "open the pull request") ?? error;
      }
      await store.rest(added.id, opening.owner, Math.max(leaseMs, settings.limits.retryMs));
      const contribution = (await store.find(added.id)) ?? added;
      await tell(opening, { kind: "waiting", contribution });
      return { kind: "waiting", contribution };
    }
  });
}

/** Our account's fork; who comes while it is made gets that one. @throws forge/…, base/aborted */
export async function forkOnce(
  { forking }: Opening,
  about: { readonly key: string; readonly forge: Forge; readonly name: UpstreamName },
  signal: AbortSignal,
): Promise<Fork> {
  const { key, forge, name } = about;
  const others = forking.get(key);
  if (others !== undefined) {
    try {
      await others;
    } catch {
      // It was theirs to fail.
    }
  }
  const own = forge.fork(name, { signal });
  forking.set(key, own);
  try {
    return await own;
  } finally {
    if (forking.get(key) === own) forking.delete(key);
  }
}

/** Takes up what others have left. @returns how many it has looked at */
export async function repairContributions(opening: Opening): Promise<number> {
  const { store, settings, owner, closing, log } = opening;
  const { leaseMs, retryMs, attemptsMax } = settings.limits;
  const rows = await store.unfinished(REPAIRS_MAX);
  for (const row of rows) {
    if (closing.aborted) break;
    if (!(await store.claim(row.id, { owner, leaseMs }))) continue;
    try {
      await holding(opening, row.id, closing, (signal) => repair(opening, row, signal));
    } catch (error) {
      if (closing.aborted) break;
      const isOver =
        row.attempts + 1 >= attemptsMax || (isGitwharfError(error) && error.code === "forge/refused");
      if (!isOver) {
        await store.rest(row.id, owner, retryMs);
        continue;
      }
      log(`the pull request of the contribution ${row.hash} could not be opened`, error);
      await fail(opening, row, "the forge did not open the pull request");
    }
  }
  return rows.length;
}

async function repair(opening: Opening, row: Contribution, signal: AbortSignal): Promise<void> {
  const { store, upstreams, settings } = opening;
  if (row.isOwnAccount) {
    await fail(opening, row, "it was begun by an account whose token is kept nowhere");
    return;
  }
  const { upstream } = row;
  const forge = await upstreams.forgeOf(upstream.forge, upstream.host);
  const fork = await forge.fork(upstream, { account: row.forkOwner, signal });
  if (row.state === "received") {
    const remote = remoteAt(fork.cloneUrl, fork.credentials, {
      signal,
      limits: settings.limits,
      allowAddresses: upstreams.allowAddressesOf(upstream.forge, upstream.host),
    });
    try {
      if (!(await hasBranch(remote, row))) {
        await fail(opening, row, "its commits did not arrive at the forge");
        return;
      }
    } finally {
      remote.close();
    }
    await store.markPushed(row.id);
  }
  await openPull(opening, { ...row, name: upstream, forge, fork }, signal);
}

interface PushedRow extends Pick<Contribution, "id" | "branch" | "base" | "title" | "body"> {
  readonly name: UpstreamName;
  readonly forge: Forge;
  readonly fork: Fork;
}

async function openPull(opening: Opening, row: PushedRow, signal: AbortSignal): Promise<Contribution> {
  const { store } = opening;
  const { name, forge, fork, branch: head, base, title, body } = row;
  // In any state: one that was closed meanwhile is not opened a second time.
  const already = await forge.findPullRequest(name, { fork, head }, { signal });
  const pull = already ?? (await forge.openPullRequest(name, { fork, head, base, title, body }, { signal }));
  await store.markOpened(row.id, pull);
  const contribution = await store.find(row.id);
  if (contribution === undefined)
    throw new GitwharfError("base/invariant", "the contribution that was opened is not written down");
  await tell(opening, { kind: "opened", contribution });
  return contribution;
}

async function addRow(opening: Opening, pull: NewPull): Promise<Contribution> {
  const { store, settings, owner } = opening;
  const { address, name, fork, isOwnAccount } = pull;
  const { forge, host } = address;
  const key = keyOfUpstream({ forge, host, ...name });
  for (let i = 0; i < BRANCH_ATTEMPTS_MAX; i++) {
    const branch = branchAt(settings.branchPrefix, pull.seconds + i);
    const added = await store.add(
      {
        id: randomUUID(),
        hash: hashOfBranch(name, branch),
        upstream: { forge, host, owner: name.owner, repo: name.repo, key },
        branch,
        base: pull.base,
        forkOwner: isOwnAccount ? "" : fork.owner,
        forkRepo: isOwnAccount ? "" : fork.repo,
        isOwnAccount,
        headOid: pull.tip,
        title: pull.title,
        body: pull.body,
      },
      { owner, leaseMs: settings.limits.leaseMs },
    );
    if (added !== undefined) return added;
  }
  throw refuse(
    "too many contributions",
    "Too many contributions came at this moment. Try again in a minute.",
  );
}

/** @returns what the person is told */
async function afterFailedPush(
  opening: Opening,
  row: Contribution,
  error: unknown,
  remote: RemoteRepository,
): Promise<unknown> {
  if (opening.closing.aborted) return error;
  const isUnknown = !(error instanceof Refused) && isGitwharfError(error) && error.kind === "operational";
  if (isUnknown) {
    try {
      // It may have broken off behind the last byte.
      if (await hasBranch(remote, row)) {
        await opening.store.markPushed(row.id);
        return refuse(
          "the forge broke off",
          `The commits have arrived, and the forge broke off. The pull request will be opened by itself; its PR hash is ${row.hash}.`,
        );
      }
    } catch {
      await opening.store.rest(row.id, opening.owner, opening.settings.limits.retryMs);
      return refuse(
        "the forge cannot be reached",
        "The forge broke off while the commits were sent. If they have arrived, the pull request will be opened by itself;",
        `its PR hash is ${row.hash}. If not, push again.`,
      );
    }
  }
  await fail(opening, row, "the forge did not take the branch");
  return refusalOfForge(error, "push to the fork") ?? error;
}

async function hasBranch(remote: RemoteRepository, { branch, headOid }: Contribution): Promise<boolean> {
  const name = `refs/heads/${branch}`;
  const { refs } = await remote.listRefs({ prefixes: [name] });
  return refs.some((ref) => ref.name === name && ref.oid === headOid);
}

async function fail(opening: Opening, row: Contribution, reason: string): Promise<void> {
  await opening.store.markFailed(row.id, reason);
  const contribution = (await opening.store.find(row.id)) ?? row;
  await tell(opening, { kind: "failed", contribution });
}

export async function tell({ listeners, log }: Opening, event: ContributionEvent): Promise<void> {
  for (const listener of listeners) {
    try {
      await listener.told(event);
    } catch (error) {
      log("who was to be told of a contribution failed", error);
    }
  }
}

/** Renews the lease while it works, and stops when it is another's. */
async function holding<T>(
  { store, owner, settings, log }: Opening,
  id: string,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { leaseMs } = settings.limits;
  const lost = new AbortController();
  const linked = linkSignals(lost.signal, signal);
  const timer = setInterval(
    () => {
      store.renew(id, { owner, leaseMs }).then(
        (isOurs) => {
          if (!isOurs) lost.abort(new GitwharfError("base/aborted", "another process has taken this over"));
        },
        (error: unknown) => log("the lease of a contribution cannot be renewed", error),
      );
    },
    Math.max(10, Math.floor(leaseMs / 3)),
  );
  try {
    return await work(linked.signal);
  } finally {
    clearInterval(timer);
    linked.release();
  }
}
