/**
 * Another server's upload-pack for clients that ask here: bytes go both ways unread, and no faster than the slower side takes
 * them. Credentials are the passage's; those of clients get nowhere.
 */
import type { ByteSource } from "../base/byte-streams.js";
import type { HttpBody } from "./http-exchange.js";
import { createHttpTransport, type HttpTransportOptions, type OpenPost } from "./http-transport.js";
import { namedFailure, namingRemote } from "./remote-git-failure.js";

export interface PassageOptions extends HttpTransportOptions {
  /** Bytes of one answer, unpacked. @default without bound */
  readonly answerBytesMax?: number | undefined;
}

export interface PassedQuestion {
  /** Of the client's `Git-Protocol`. */
  readonly protocol: 0 | 1 | 2;
  /** When that client has gone; besides the passage's. */
  readonly signal?: AbortSignal | undefined;
}

/** To be read once, or left: `close` in any case. @throws client/…, base/aborted, and what the request throws */
export interface PassedAnswer extends ByteSource {
  /** Idempotent. */
  close(): void;
}

/** @throws client/…, base/aborted */
export interface Passage {
  /** Without credentials; where it has redirected to, once it has. */
  readonly url: string;
  /** The answer to `info/refs?service=git-upload-pack`. Redirects are followed here, and nowhere else. */
  advertisement(question: PassedQuestion): Promise<PassedAnswer>;
  /** @param request the body of a `git-upload-pack`, unpacked. Once it is read, it is read to its end or closed. @throws what it throws, too */
  uploadPack(question: PassedQuestion, request: ByteSource): Promise<PassedAnswer>;
  /** Ends connections that are kept open. Idempotent. */
  close(): void;
}

const SERVICE = "git-upload-pack";

/** @throws server/bad-configuration when an option or the URL is wrong */
export function openPassage(url: string, options: PassageOptions = {}): Passage {
  const { answerBytesMax = Infinity } = options;
  const transport = createHttpTransport(url, options);
  const named = <T>(work: () => Promise<T>): Promise<T> => namingRemote(() => transport.shown, work);
  const callOf = (question: PassedQuestion) => ({ service: SERVICE, answerBytesMax, ...question }) as const;
  return {
    get url() {
      return transport.shown;
    },
    advertisement: (question) =>
      named(async () => {
        const body = await transport.discover(callOf(question));
        return { [Symbol.asyncIterator]: () => bytesOf(body, transport), close: () => body.close() };
      }),
    uploadPack: (question, request) =>
      named(async () => {
        const post = await transport.openPost(callOf(question));
        const sending = new Sending(post, request);
        const body = await sending.answer();
        return {
          [Symbol.asyncIterator]: () => bytesOf(body, transport, sending),
          close() {
            body.close();
            post.cut();
          },
        };
      }),
    close: () => transport.close(),
  };
}

/** What is written while the answer may have begun. */
class Sending {
  readonly #post: OpenPost;
  /** Of the request, not of the other server. */
  #broke: { readonly error: unknown } | undefined;

  constructor(post: OpenPost, request: ByteSource) {
    this.#post = post;
    this.#send(request).catch((error: unknown) => {
      this.#broke = { error };
      post.cut();
    });
  }

  async answer(): Promise<HttpBody> {
    try {
      return await this.#post.answer();
    } catch (error) {
      this.#post.cut();
      throw this.reasonFor(error);
    }
  }

  /** Who has broken off is why the other side broke off. */
  reasonFor(error: unknown): unknown {
    return this.#broke === undefined ? error : this.#broke.error;
  }

  async #send(request: ByteSource): Promise<void> {
    for await (const chunk of request) {
      try {
        await this.#post.write(chunk);
      } catch {
        // They read no more: their answer says why.
        return;
      }
    }
    this.#post.end();
  }
}

async function* bytesOf(
  body: HttpBody,
  transport: { readonly shown: string },
  sending?: Sending,
): AsyncGenerator<Uint8Array, void, void> {
  try {
    yield* body;
  } catch (error) {
    throw namedFailure(transport.shown, sending?.reasonFor(error) ?? error);
  }
}
