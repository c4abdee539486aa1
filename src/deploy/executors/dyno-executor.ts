/**
 * A dyno of an Openruko: it is asked for, met, and spoken to as git speaks to another git. What is built there, made a
 * release and launched is the platform's; here is only the way to it. docs/deploy.md, "In the dynos of an Openruko"
 */
import { createApiServer, type Dyno } from "../../access/openruko/api-server.js";
import { checkOpenrukoOptions, type OpenrukoOptions } from "../../access/openruko/openruko-options.js";
import { RemoteFailure } from "../../access/remote/remote-failure.js";
import { throwIfAborted, GitwharfError } from "../../base/errors.js";
import { type DynoConnection, openDynoConnection } from "../../client/openruko/dyno-connection.js";
import { openRendezvous, type Rendezvous } from "../../client/openruko/rendezvous.js";
import { BuildFailure } from "../build/build-failure.js";

export interface DynoOptions
  extends Pick<
    OpenrukoOptions,
    | "apiServerUrl"
    | "apiServerCaFile"
    | "rendezvousPort"
    | "rendezvousCaFile"
    | "rendezvousServerName"
    | "provisionTimeoutMs"
    | "exitTimeoutMs"
    | "heartbeatMs"
  > {
  /** Of the account at the API server whose apps are built: dynos are asked for with it. */
  readonly apiKey: string;
  /** The first line that a dyno host is sent: `APISERVER_KEY` of those that have no other. */
  readonly rendezvousSecret: string;
  /** A dyno that says nothing for so long, where git says something every five seconds, is given up. @default 60,000 */
  readonly idleTimeoutMs?: number;
}

/** Carries out whole builds, none of whose programs are known here. */
export interface DynoExecutor {
  readonly name: "dyno";
  /** Where it asks, for a person. */
  readonly apiServerUrl: string;
  /** From telling a dyno to end to cutting it off. */
  readonly exitTimeoutMs: number;
  /**
   * Has a dyno made for a push to an app, and meets it.
   * @throws BuildFailure, with the cause for the log; base/aborted
   */
  meet(meeting: DynoMeeting): Promise<DynoConnection>;
}

export interface DynoMeeting {
  readonly app: string;
  /** What the dyno prints beside git's bytes. */
  readonly onErrors: (bytes: Uint8Array) => Promise<void>;
  /** Ends what has begun: the dyno is told to, and cut off when it does not. */
  readonly signal: AbortSignal;
}

const KEY = /^[\x21-\x7e]{1,512}$/;
const IDLE_MS = 60_000;

/** @throws server/bad-configuration */
export function createDynoExecutor(given: DynoOptions): DynoExecutor {
  const { apiKey, idleTimeoutMs = IDLE_MS, ...others } = given;
  if (typeof apiKey !== "string" || !KEY.test(apiKey))
    throw wrong(
      "it needs apiKey, the key of an account at the API server, of up to 512 characters without spaces",
    );
  if (!(idleTimeoutMs > 0)) throw wrong("idleTimeoutMs is a number of milliseconds above 0");
  if (typeof others.rendezvousSecret !== "string" || !KEY.test(others.rendezvousSecret))
    throw wrong("it needs rendezvousSecret (APISERVER_KEY), of up to 512 characters without spaces");
  // The server's own key is asked for nothing here.
  const options = checkOpenrukoOptions({ ...others, apiServerKey: others.rendezvousSecret });
  const nothing = (): void => undefined;
  const api = createApiServer(options, { onRetry: nothing, onBreak: nothing, onReset: nothing });
  const { provisionTimeoutMs, exitTimeoutMs } = options;

  const request = async (app: string, signal: AbortSignal): Promise<Dyno> => {
    try {
      const dyno = await api.requestDyno({ app, action: "git-receive-pack", apiKey, signal });
      if (dyno !== undefined) return dyno;
    } catch (error) {
      throwIfAborted(signal);
      if (!(error instanceof RemoteFailure)) throw error;
      throw new BuildFailure("the build server cannot be reached", { cause: error });
    }
    throw new BuildFailure(`the build server has no app '${app}' for this server's account`);
  };
  return {
    name: "dyno",
    apiServerUrl: options.apiServerUrl,
    exitTimeoutMs,
    async meet({ app, onErrors, signal }) {
      const late = new AbortController();
      const seconds = provisionTimeoutMs / 1000;
      let waitingFor = "an answer of the API server";
      let rendezvous: Rendezvous | undefined;
      const timer = setTimeout(() => {
        const cause = new Error(`still waiting for ${waitingFor} after ${seconds} seconds`);
        late.abort(new BuildFailure(`no dyno was ready within ${seconds} seconds`, { cause }));
        rendezvous?.cut();
      }, provisionTimeoutMs);
      const both = AbortSignal.any([signal, late.signal]);
      try {
        const dyno = await request(app, both);
        waitingFor = `a connection to dyno ${dyno.dynoId} at ${dyno.host}`;
        rendezvous = await openRendezvous(dyno, options, both);
        waitingFor = `the first byte of dyno ${dyno.dynoId} at ${dyno.host}`;
        return openDynoConnection({
          rendezvous,
          onErrors,
          idleTimeoutMs,
          exitTimeoutMs,
          onFirstByte: () => clearTimeout(timer),
          signal: both,
        });
      } catch (error) {
        clearTimeout(timer);
        if (late.signal.aborted && !signal.aborted) throw late.signal.reason;
        if (error instanceof GitwharfError && error.code === "server/build-unavailable")
          throw new BuildFailure("the build server cannot be reached", { cause: error.cause });
        throw error;
      }
    },
  };
}

function wrong(why: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", `dyno: ${why}`);
}
