/**
 * One command of a person who has signed in, passed on to a build of its own: may he, is it his turn, where is the dyno,
 * and then bytes until one of the chain ends, which ends all of it.
 */
import type { OpenrukoAccess } from "../../access/openruko/openruko-access.js";
import type { CheckedOpenrukoOptions } from "../../access/openruko/openruko-options.js";
import { abortedError, GitwharfError, isGitwharfError } from "../../base/errors.js";
import type { RepositoryGate } from "../repository-gate.js";
import { callerKey, requireAuthorization } from "../service-call.js";
import type { ServiceExchange } from "../service-contexts.js";
import type { CommandCall } from "../ssh/serve-command.js";
import type { AppCommand } from "./app-command.js";
import { type Relay, startRelay } from "./relay.js";
import { openRendezvous } from "../../client/openruko/rendezvous.js";
import type { UserPlaces } from "./user-places.js";
import { meaningOfSignal, type SessionEnd, STATUS_BROKEN_OFF, STATUS_UNREACHABLE } from "./session-end.js";

export interface AppSessionOptions {
  readonly exchange: ServiceExchange;
  readonly call: CommandCall;
  readonly command: AppCommand;
  readonly access: OpenrukoAccess;
  readonly options: CheckedOpenrukoOptions;
  /** One push to an app at a time. */
  readonly pushes: RepositoryGate;
  readonly users: UserPlaces;
  /** Tells the person; never throws. */
  readonly tell: (...lines: readonly string[]) => void;
}

/** @throws what refuses it, as long as no byte of the dyno has come @returns the exit status */
export async function runAppSession(options: AppSessionOptions): Promise<number> {
  const session = new AppSession(options);
  try {
    return await session.run();
  } finally {
    session.dispose();
  }
}

class AppSession {
  readonly #options: AppSessionOptions;
  /** Fires at whatever ends the session: nothing is begun any more. */
  readonly #over = new AbortController();
  /** Fires when what has begun is cut off as well. */
  readonly #killed = new AbortController();
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #onLeft = (): void => this.#left();
  #end: SessionEnd | undefined;
  #relay: Relay | undefined;

  constructor(options: AppSessionOptions) {
    this.#options = options;
    const { exchange, call } = options;
    const { sessionTimeoutMs } = options.options;
    const text = `the session has taken ${sessionTimeoutMs / 1000} seconds, which is the longest it may, and is ended`;
    this.#after(sessionTimeoutMs, () =>
      this.#stop({ how: "terminate", status: STATUS_BROKEN_OFF, text, error: aborted(text) }),
    );
    call.onSignal?.((name) => {
      const meaning = meaningOfSignal(name);
      if (meaning === undefined) return;
      this.#stop({ ...meaning, text: undefined, error: aborted(`the client sent SIG${name}`) });
    });
    exchange.signal.addEventListener("abort", this.#onLeft, { once: true });
    if (exchange.signal.aborted) this.#left();
  }

  dispose(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.#options.exchange.signal.removeEventListener("abort", this.#onLeft);
  }

  async run(): Promise<number> {
    const { exchange, command, pushes, users } = this.#options;
    const { host, caller } = exchange;
    const isPush = command.action === "git-receive-pack";
    const operation = isPush ? "push" : "fetch";
    await host.rates.admitAddress(caller.address);
    await host.rates.admitIdentity(caller.identity);
    await host.panic.admit(operation);
    await host.rates.admitService(caller, { push: isPush, discovery: false });
    await requireAuthorization({ host, caller, name: command.app, operation });
    const places: (() => void)[] = [];
    try {
      places.push(users.enter(caller.identity.user));
      places.push(
        await host.gate.enter(command.app, { caller: callerKey(exchange), signal: this.#over.signal }),
      );
      if (isPush) {
        places.push(await this.#takeTurn(pushes));
        await host.audit?.passedOn(caller, command.app);
      }
      return await this.#build();
    } catch (error) {
      if (this.#end === undefined) throw error;
      return this.#conclude(this.#end);
    } finally {
      for (const leave of places.reverse()) leave();
    }
  }

  /** In the order in which they came, users taking turns. */
  async #takeTurn(pushes: RepositoryGate): Promise<() => void> {
    const { exchange, command, tell, options } = this.#options;
    let isIn = false;
    const entering = pushes
      .enter(command.app, { caller: callerKey(exchange), signal: this.#over.signal })
      .catch((error: unknown) => {
        if (!isGitwharfError(error, "server/busy")) throw error;
        const waiting = `${options.pushQueueMax} other pushes to ${command.app} wait already`;
        throw new GitwharfError("server/busy", `${waiting}; try again in a moment`);
      })
      .finally(() => (isIn = true));
    // Who need not wait is in by then.
    entering.catch(() => undefined);
    await new Promise(setImmediate);
    if (!isIn) tell(`Another push to ${command.app} is running. This one waits for it to end.`);
    return entering;
  }

  async #build(): Promise<number> {
    const { exchange, call, command, access, options, tell } = this.#options;
    const { host, caller } = exchange;
    const { provisionTimeoutMs, halfClose, exitTimeoutMs, heartbeatMs } = options;
    const text = `Unable to contact build server. It was not ready within ${provisionTimeoutMs / 1000} seconds.`;
    const notReady = this.#after(provisionTimeoutMs, () =>
      this.#stop({ how: "kill", status: STATUS_UNREACHABLE, text, error: unavailable(text) }),
    );
    const { identity, address } = caller;
    const { signal } = this.#killed;
    // From here on there may be a dyno: also who leaves goes to meet it, so that it is told to end.
    const dyno = await access.requestDyno({ ...command, identity, address, signal });
    caller.activity.note({ attributes: { "gitwharf.openruko.dyno": dyno.dynoId } });
    const rendezvous = await openRendezvous(dyno, options, signal);
    const relay = startRelay({
      rendezvous,
      streams: call.streams,
      halfClose,
      exitTimeoutMs,
      onFirstByte: () => clearTimeout(notReady),
      onExitTimeout: () =>
        tell(
          `Error R12 (Exit timeout): the build has not ended within ${exitTimeoutMs / 1000} seconds of being told to.`,
        ),
    });
    this.#relay = relay;
    const begun = performance.now();
    const heartbeat = setInterval(() => {
      const seconds = Math.round((performance.now() - begun) / 1000);
      const fields = { requestId: exchange.sessionId, user: identity.user, repository: command.app, seconds };
      host.log({ level: "info", message: `dyno ${dyno.dynoId} is still at work`, fields });
    }, heartbeatMs);
    this.#timers.push(heartbeat.unref());
    if (command.action === "git-upload-pack") this.#watchBytes();
    if (this.#end !== undefined) this.#pass(this.#end);
    const { how, isMute, isEmpty } = await relay.ended;
    clearTimeout(notReady);
    if (this.#end !== undefined) return this.#conclude(this.#end);
    if (isEmpty) throw unavailable(`dyno ${dyno.dynoId} closed the connection before it said anything`);
    const error = unavailable(`dyno ${dyno.dynoId} broke off`);
    if (how === "lost") {
      tell("The connection to the build server broke off.");
      return this.#conclude({ how: "kill", status: STATUS_BROKEN_OFF, text: undefined, error });
    }
    // It has said itself why.
    if (isMute) return this.#conclude({ how: "kill", status: STATUS_UNREACHABLE, text: undefined, error });
    return 0;
  }

  /** A fetch is never silent for long, as a build may be: a client that asks for nothing must not keep a dyno. */
  #watchBytes(): void {
    const { host, caller } = this.#options.exchange;
    const { idleTimeoutMs } = host.limits;
    if (!Number.isFinite(idleTimeoutMs)) return;
    let before = caller.activity.bytes;
    const text = `nothing has moved for ${idleTimeoutMs / 1000} seconds, so the session is ended`;
    const watch = setInterval(() => {
      const now = caller.activity.bytes;
      if (now === before)
        this.#stop({ how: "terminate", status: STATUS_BROKEN_OFF, text, error: aborted(text) });
      before = now;
    }, idleTimeoutMs);
    this.#timers.push(watch);
  }

  #conclude({ status, error }: SessionEnd): number {
    this.#options.exchange.caller.activity.failed(error);
    return status;
  }

  #left(): void {
    const { signal, host } = this.#options.exchange;
    const error = abortedError(signal);
    const how = host.closing.aborted ? "kill" : "terminate";
    const text = host.closing.aborted ? error.message : undefined;
    this.#stop({ how, status: STATUS_BROKEN_OFF, text, error });
  }

  /** The first reason counts; a later one can only make it harder. */
  #stop(end: SessionEnd): void {
    if (this.#end === undefined) {
      this.#end = end;
      if (end.text !== undefined) this.#options.tell(end.text);
      this.#over.abort(end.error);
    } else if (this.#end.how === "terminate" && end.how === "kill") this.#end = end;
    this.#pass(end);
  }

  #pass({ how, error }: SessionEnd): void {
    if (how === "kill") this.#killed.abort(error);
    this.#relay?.stop(how);
    if (this.#options.exchange.signal.aborted) this.#relay?.discard();
  }

  #after(ms: number, then: () => void): NodeJS.Timeout {
    const timer = setTimeout(then, ms);
    this.#timers.push(timer);
    return timer;
  }
}

function aborted(message: string): GitwharfError {
  return new GitwharfError("base/aborted", message);
}

function unavailable(message: string): GitwharfError {
  return new GitwharfError("server/build-unavailable", message);
}
