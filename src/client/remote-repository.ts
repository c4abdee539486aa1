/**
 * A repository on another Git server, over Smart HTTP in protocol v2, v1 or v0. Nothing is asked before the first question;
 * what the server can do is asked once, its refs each time.
 */
import { GitwharfError } from "../base/errors.js";
import type { ObjectFormat } from "../object/object-format.js";
import { type Discovery, readDiscovery } from "./discovery.js";
import { type FetchRequest, type FetchResult, fetchInto } from "./fetch-into.js";
import { fetchPack } from "./fetch-pack.js";
import { createHttpTransport, type HttpTransport, type HttpTransportOptions } from "./http-transport.js";
import type { PackAnswer } from "./pack-answer.js";
import type { PackRequest } from "./pack-request.js";
import { type PushReport, type PushRequest, pushTo } from "./push-to.js";
import {
  type FetchWishes,
  type ReceiveContext,
  receiveInto,
  type ReceiveRequest,
  type ReceiveResult,
} from "./receive-into.js";
import { namingRemote } from "./remote-git-failure.js";
import { formatLsRefsRequest, readLsRefs, type RemoteRefs, refsIn } from "./remote-refs.js";

export interface RemoteOptions extends HttpTransportOptions {
  /** Protocol to ask for; what a server answers in is understood all the same. @default 2 */
  readonly protocol?: 0 | 2 | undefined;
  /** Bytes of a list of refs; in memory it takes some ten times that. @default 64 MiB */
  readonly refsBytesMax?: number | undefined;
  /** Bytes of an answer to a fetch before its pack. @default 64 MiB */
  readonly answerBytesMax?: number | undefined;
}

export interface ListRefsOptions {
  /** Only refs that begin with one of these. @default all */
  readonly prefixes?: readonly string[] | undefined;
}

export interface FetchPackRequest extends PackRequest {
  /** What the server says, control characters taken out. */
  readonly onRemoteText?: ((text: string) => void) | undefined;
}

/**
 * Every method throws GitwharfErrors whose messages begin with the URL, without credentials: `client/unreachable`,
 * `client/refused`, `client/bad-answer`, `client/not-callable`, `protocol/unsupported` (the server cannot do it),
 * `base/aborted` and `base/limit-exceeded`.
 */
export interface RemoteRepository {
  /** Its URL, without credentials; where it has redirected to, once it has. */
  readonly url: string;
  /** What stands there now. */
  listRefs(options?: ListRefsOptions): Promise<RemoteRefs>;
  /** Into a repository of ours: checked, then published, then its refs move. @throws pack/…, object/…, storage/io as well */
  fetch(request: FetchRequest): Promise<FetchResult>;
  /** Into a quarantine of the caller's: checked, and neither published nor discarded. @throws pack/…, object/…, storage/io as well */
  receive(request: ReceiveRequest): Promise<ReceiveResult>;
  /** The pack alone, not looked at; `close` it in any case. Its bytes throw what methods do. */
  fetchPack(request: FetchPackRequest): Promise<PackAnswer>;
  /** Objects of ours, and refs there. A refusal is a value. @throws object/corrupt, storage/io as well */
  push(request: PushRequest): Promise<PushReport>;
  /** Ends connections that are kept open. Idempotent. */
  close(): void;
}

const MiB = 1024 * 1024;
const AGENT = "gitwharf";

/**
 * @param url `https://[user[:password]@]host/path`, or http
 * @throws server/bad-configuration when an option or the URL is wrong
 */
export function openRemote(url: string, options: RemoteOptions = {}): RemoteRepository {
  const { agent = AGENT } = options;
  if (!/^[\x21-\x7e]{1,200}$/.test(agent))
    throw new GitwharfError("server/bad-configuration", "agent is to be a word of printable ASCII");
  return new Remote(createHttpTransport(url, options), options);
}

class Remote implements RemoteRepository {
  readonly #transport: HttpTransport;
  readonly #options: RemoteOptions;
  readonly #agent: string;
  readonly #refsBytesMax: number;
  #discovered: Discovery | undefined;
  /** Of the last list. */
  #listed: RemoteRefs | undefined;

  constructor(transport: HttpTransport, options: RemoteOptions) {
    this.#transport = transport;
    this.#options = options;
    this.#agent = options.agent ?? AGENT;
    this.#refsBytesMax = options.refsBytesMax ?? 64 * MiB;
  }

  get url(): string {
    return this.#transport.shown;
  }

  listRefs({ prefixes = [] }: ListRefsOptions = {}): Promise<RemoteRefs> {
    return this.#named(async () => {
      // What a v0 server has told is its refs.
      if (this.#discovered?.protocol === 0) this.#discovered = undefined;
      const discovery = await this.#discover();
      if (discovery.protocol === 0) return (this.#listed = refsIn(discovery, prefixes));
      const { objectFormat } = discovery;
      const bytesMax = this.#refsBytesMax;
      const answer = await this.#transport.post(
        { service: "git-upload-pack", protocol: 2, answerBytesMax: bytesMax },
        formatLsRefsRequest(discovery, { prefixes, agent: this.#agent }),
      );
      return (this.#listed = await readLsRefs(answer, { objectFormat, prefixes, bytesMax }));
    });
  }

  fetchPack({ onRemoteText, ...request }: FetchPackRequest): Promise<PackAnswer> {
    return this.#named(async () => {
      const discovery = await this.#discover();
      return fetchPack(
        {
          transport: this.#transport,
          objectFormat: discovery.objectFormat,
          agent: this.#agent,
          answerBytesMax: this.#options.answerBytesMax ?? 64 * MiB,
          onRemoteText,
        },
        discovery,
        request,
      );
    });
  }

  fetch(request: FetchRequest): Promise<FetchResult> {
    return this.#named(async () => {
      const context = await this.#receiveContext(request.into.objectFormat, request);
      const theirs = (this.#listed?.refs ?? []).map(({ oid, peeled }) => peeled ?? oid);
      return fetchInto({ ...context, theirs }, request);
    });
  }

  receive(request: ReceiveRequest): Promise<ReceiveResult> {
    return this.#named(async () => {
      const { objectFormat } = request.quarantine.objects;
      return receiveInto(await this.#receiveContext(objectFormat, request), request);
    });
  }

  /** @throws protocol/unsupported when its objects have ids of another kind */
  async #receiveContext(
    ours: ObjectFormat,
    { onRemoteText }: Pick<FetchWishes, "onRemoteText">,
  ): Promise<ReceiveContext> {
    const { objectFormat } = await this.#discover();
    if (objectFormat !== ours)
      throw new GitwharfError(
        "protocol/unsupported",
        `${this.url}: its objects are of ${objectFormat}, ours of ${ours}`,
      );
    return {
      shown: this.url,
      ask: (asked) => this.fetchPack({ ...asked, onRemoteText }),
      signal: this.#options.signal,
    };
  }

  push(request: PushRequest): Promise<PushReport> {
    return this.#named(() =>
      pushTo(
        {
          transport: this.#transport,
          agent: this.#agent,
          refsBytesMax: this.#refsBytesMax,
          signal: this.#options.signal,
        },
        request,
      ),
    );
  }

  close(): void {
    this.#transport.close();
  }

  async #discover(): Promise<Discovery> {
    if (this.#discovered !== undefined) return this.#discovered;
    const { protocol = 2 } = this.#options;
    const service = "git-upload-pack";
    const answer = await this.#transport.discover({ service, protocol, answerBytesMax: this.#refsBytesMax });
    try {
      return (this.#discovered = await readDiscovery(answer, { service, bytesMax: this.#refsBytesMax }));
    } finally {
      answer.close();
    }
  }

  /** The URL is looked at when it fails: by then it may have redirected. */
  async #named<T>(work: () => Promise<T>): Promise<T> {
    return namingRemote(() => this.url, work);
  }
}
