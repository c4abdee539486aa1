/** The doors of a server, opened together or not at all, and closed together. */
import { isLoopbackName } from "../access/open-access.js";
import { GitwharfError } from "../base/errors.js";
import type { DaemonListener } from "../transport/git-daemon/listener.js";
import type { HttpHandler } from "../transport/http/handler.js";
import type { HttpFront } from "../transport/http/http-front.js";
import { type HttpListener, listenHttp } from "../transport/http/listener.js";
import type { ServiceHost } from "../transport/service-host.js";
import type { SshListener } from "../transport/ssh/listener.js";
import type { CommandFront } from "../transport/ssh/serve-command.js";
import { listenDaemonFor } from "./git-daemon-options.js";
import type { GitServerOptions, ListenOptions } from "./git-server-options.js";
import { type ListenAddress, parseListenAddress } from "./listen-address.js";
import {
  listenForOperations,
  type OperationsListener,
  type OperationsOptions,
} from "./operations-listener.js";
import { proxiesOf } from "./proxy-listeners.js";

export interface Listening {
  readonly http: HttpListener;
  /** There when `ssh` was asked for. */
  readonly ssh: SshListener | undefined;
  /** There when `git` was asked for. */
  readonly git: DaemonListener | undefined;
  /** There when `metrics` was asked for. */
  readonly metrics: OperationsListener | undefined;
}

export interface ListenersOptions {
  readonly options: GitServerOptions;
  readonly host: ServiceHost;
  readonly handler: HttpHandler;
  /** Takes what is for apps before it comes to the handler. */
  readonly front?: HttpFront | undefined;
  /** Answers commands over SSH in place of the services. */
  readonly commandFront: CommandFront | undefined;
  readonly isOpen: () => Promise<boolean>;
  /** Before the first door opens; none does when it throws. */
  readonly onListen: (http: ListenAddress) => Promise<void>;
  readonly operations: OperationsOptions;
}

export interface Listeners {
  /**
   * @throws server/bad-configuration: bad or taken address, or an address that is not loopback while the server is
   *   open to everyone
   */
  listen(options: ListenOptions): Promise<Listening>;
  /** Waits `graceMs` milliseconds for connections that are at work; may be called again, with less. */
  close(graceMs: number): Promise<void>;
  /** Those for operators last: to the end they tell who asks that the server is going. */
  closeOperations(): Promise<void>;
}

type Door = HttpListener | SshListener | DaemonListener;

export function createListeners(given: ListenersOptions): Listeners {
  const { options, host, handler, front, commandFront, isOpen, onListen, operations } = given;
  const open = new Set<Door>();
  const openForOperators = new Set<OperationsListener>();

  return {
    async listen(listen) {
      const { http, ssh, git, metrics } = addressesOf(listen);
      const outside = [http, ssh, git].find((one) => one !== undefined && !isLoopbackName(one.host));
      if (outside !== undefined && (await isOpen())) {
        throw wrong(
          `refusing to listen on ${outside.host}: without authentication everyone who reaches this address could ` +
            `read and push. Listen on 127.0.0.1, ${options.database === undefined ? "" : "add a user (gitwharf user add), "}` +
            "or configure `authenticate` or `authorize`",
        );
      }
      if (listen.tls?.clientCaFile !== undefined && options.clientCertificates === undefined)
        throw wrong(
          "tls.clientCaFile asks for client certificates that nobody looks at: set clientCertificates too",
        );
      const proxies = proxiesOf(options, listen);
      await onListen(http);
      const begun: Door[] = [];
      const begin = async <T extends Door>(listening: Promise<T>): Promise<T> => {
        const door = await listening;
        begun.push(door);
        open.add(door);
        return door;
      };
      try {
        return {
          http: await begin(
            listenHttp({
              ...http,
              proxies: proxies.http,
              rates: host.rates,
              isProxy: host.isProxy,
              handler,
              front,
              limits: host.limits,
              log: host.log,
              ...(listen.tls === undefined ? {} : { tls: listen.tls }),
            }),
          ),
          ssh:
            ssh &&
            (await begin(
              // Who does without SSH does without its library.
              import("./listen-ssh.js").then(({ listenSshFor }) =>
                listenSshFor(options, host, { ...ssh, proxies: proxies.ssh }, commandFront),
              ),
            )),
          git:
            git && (await begin(listenDaemonFor(options.gitDaemon, host, { ...git, proxies: proxies.git }))),
          metrics: metrics && (await beginForOperators(metrics)),
        };
      } catch (error) {
        for (const door of begun) {
          open.delete(door);
          await door.close(0);
        }
        throw error;
      }
    },
    async close(graceMs) {
      await Promise.all([...open].map((door) => door.close(graceMs)));
    },
    async closeOperations() {
      await Promise.all([...openForOperators].map((listener) => listener.close()));
    },
  };

  async function beginForOperators(address: ListenAddress): Promise<OperationsListener> {
    const listener = await listenForOperations(address, operations);
    openForOperators.add(listener);
    return listener;
  }
}

function addressesOf({ http, ssh, git, metrics }: ListenOptions): {
  readonly http: ListenAddress;
  readonly ssh: ListenAddress | undefined;
  readonly git: ListenAddress | undefined;
  readonly metrics: ListenAddress | undefined;
} {
  const parse = (given: ListenOptions["ssh"]): ListenAddress | undefined =>
    given === undefined ? undefined : parseListenAddress(given);
  return { http: parseListenAddress(http), ssh: parse(ssh), git: parse(git), metrics: parse(metrics) };
}

function wrong(why: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", why);
}
