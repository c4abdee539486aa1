/**
 * The way in for an app's callers, on the listener that serves Git: by the host name it is decided whose a request is. What
 * is for no app is left alone. A web page elsewhere that has its name resolve to this machine (DNS rebinding) gets no
 * further than before: its `Host` is no app's, and Git's own check of it stands.
 */
import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { plainAddress } from "../../access/client-address.js";
import type { AppOfHost } from "./app-hosts.js";
import type { Launcher } from "./launcher.js";
import { forwardRequest, type Forwarding } from "./proxy/forward-request.js";
import { forwardUpgrade, isWebSocketRequest } from "./proxy/forward-upgrade.js";
import { type AppRequest, type AppResponse, PROXY_TIMES, type ProxyTimes } from "./proxy/exchange.js";
import { answerInPlainText } from "./proxy/plain-answer.js";
import { refusedHead } from "./proxy/refused-head.js";
import { hostOf } from "./proxy/request-target.js";
import type { SupervisedProcess } from "./supervised-process.js";

export interface AppFrontOptions {
  readonly appOf: AppOfHost;
  readonly launcher: Pick<Launcher, "targetOf">;
  /** Of an app that is not there now: it ran before, and is being started. @default never */
  readonly isComing?: (app: string) => Promise<boolean>;
  /** At the other end of the connection: a listener behind a balancer knows better than the socket. */
  readonly peerAddressOf: (request: AppRequest) => string | undefined;
  /** Whose word about the client is believed. */
  readonly isTrustedProxy: (peerAddress: string | undefined) => boolean;
  readonly times?: Partial<ProxyTimes>;
  /** Requests and WebSockets of one app at once; more are told to come again (503). @default 1,000 */
  readonly requestsMax?: number;
  readonly log: (entry: {
    readonly level: "info" | "warn" | "error";
    readonly message: string;
    readonly fields?: Readonly<Record<string, string | number | undefined>>;
  }) => void;
}

export interface AppFront {
  /** @returns false: it is for no app, and nothing was done with it */
  request(request: AppRequest, response: AppResponse): boolean;
  /** The same for a request that wants to become something else. What is no WebSocket is an ordinary request. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean;
}

/** A crowd must not fill the log: each app is told of at most so often. */
const COMPLAINT_MS = 10_000;

export function createAppFront(options: AppFrontOptions): AppFront {
  const { appOf, launcher, peerAddressOf, isTrustedProxy, requestsMax = 1000, log } = options;
  const times = { ...PROXY_TIMES, ...options.times };
  const atWork = new Map<string, number>();
  const complainedAt = new Map<string, number>();

  const complainOf =
    (app: string, requestId: string) =>
    (text: string): void => {
      const now = performance.now();
      if (now - (complainedAt.get(app) ?? Number.NEGATIVE_INFINITY) < COMPLAINT_MS) return;
      complainedAt.set(app, now);
      log({ level: "warn", message: `the app '${app}' fails: ${text}`, fields: { app, requestId } });
    };
  const originOf = (request: AppRequest): Forwarding["origin"] => {
    const peer = peerAddressOf(request);
    const isTrusted = isTrustedProxy(peer);
    const peerAddress = peer === undefined ? undefined : (plainAddress(peer) ?? peer);
    const given = request.headers["x-request-id"];
    const isGiven = isTrusted && typeof given === "string" && /^[\x21-\x7e]{1,200}$/.test(given);
    return { peerAddress, isTrusted, requestId: isGiven ? given : randomUUID() };
  };
  /** One more of an app's; it counts until the promise settles. */
  const counted = (app: string, work: () => Promise<void>): void => {
    atWork.set(app, (atWork.get(app) ?? 0) + 1);
    void work()
      .catch((error: unknown) => complainOf(app, "")(String(error)))
      .finally(() => {
        const left = (atWork.get(app) ?? 1) - 1;
        if (left === 0) atWork.delete(app);
        else atWork.set(app, left);
      });
  };
  /** Asked anew each time: meanwhile a release may have taken the place of another. */
  const processesOf = (app: string) => (): readonly SupervisedProcess[] => {
    const target = launcher.targetOf(app);
    return target?.kind === "processes" ? target.processes() : [];
  };
  const isFull = (app: string): boolean => (atWork.get(app) ?? 0) >= requestsMax;

  const answerApp = async (app: string, request: AppRequest, response: AppResponse): Promise<void> => {
    const target = launcher.targetOf(app);
    if (target === undefined) {
      // Who cannot say so now may be able to in a moment.
      if ((await options.isComing?.(app).catch(() => true)) === true)
        answerInPlainText(request, response, 503, "the app is being started; try again in a moment");
      else
        answerInPlainText(request, response, 404, `there is no app '${app}' here, or it was never deployed`);
      return;
    }
    const origin = originOf(request);
    response.setHeader("X-Request-Id", origin.requestId);
    if (target.kind === "site") {
      const release = target.requests.begin();
      response.setTimeout(times.idleMs, () => response.destroy());
      try {
        await target.site.serve(request, response);
      } finally {
        release();
      }
      return;
    }
    const complain = complainOf(app, origin.requestId);
    await forwardRequest(request, response, { processes: processesOf(app), times, origin, complain });
  };

  return {
    request(request, response) {
      const found = appOf(hostOf(request));
      if (found === undefined) return false;
      request.on("error", () => undefined);
      response.on("error", () => undefined);
      const refused = refusedHead(request);
      if (refused !== undefined) {
        answerInPlainText(request, response, refused.status, refused.text);
        return true;
      }
      if (found === "unnamed") {
        answerInPlainText(request, response, 404, "no app can have this name");
        return true;
      }
      if (isFull(found.app)) {
        answerInPlainText(request, response, 503, "the app is busy; try again in a moment");
        return true;
      }
      counted(found.app, () => answerApp(found.app, request, response));
      return true;
    },
    upgrade(request, socket, head) {
      if (!isWebSocketRequest(request) || refusedHead(request) !== undefined) return false;
      const found = appOf(hostOf(request));
      if (found === undefined || found === "unnamed") return false;
      const { app } = found;
      const target = launcher.targetOf(app);
      // These have their answers as ordinary requests.
      if (target === undefined || target.kind === "site" || isFull(app)) return false;
      const origin = originOf(request);
      const complain = complainOf(app, origin.requestId);
      counted(app, () =>
        forwardUpgrade(request, socket, head, { processes: processesOf(app), times, origin, complain }),
      );
      return true;
    },
  };
}
