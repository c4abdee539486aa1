/**
 * Fetching and cloning through the gateway: git-upload-pack of the forge, bytes as they come, both ways. What passes is not
 * looked at; how much of it there may be is bounded.
 */
import type { ByteSource } from "../../base/byte-streams.js";
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import type { HttpBody } from "../../client/http-exchange.js";
import { createHttpTransport, type HttpTransport } from "../../client/http-transport.js";
import { namedFailure } from "../../client/remote-git-failure.js";
import type { GatewayLimits } from "../gateway-options.js";
import type { Upstream } from "./find-upstream.js";
import { readingCredentials, transportOptions } from "./open-upstream.js";

export interface PassThrough {
  readonly upstream: Upstream;
  /** As the client has asked for it. */
  readonly protocol: 0 | 2;
  readonly limits: GatewayLimits;
  readonly signal: AbortSignal;
}

/** To be read once; `close` it in any case. Its bytes throw what the functions here do. */
export interface PassedAnswer {
  readonly bytes: ByteSource;
  close(): void;
}

const SERVICE = "git-upload-pack";

/** `info/refs`. @throws client/…, forge/…, base/aborted */
export async function passDiscovery(about: PassThrough): Promise<PassedAnswer> {
  const transport = await openTransport(about);
  return passed(transport, () =>
    transport.discover({
      service: SERVICE,
      protocol: about.protocol,
      answerBytesMax: about.limits.refsBytesMax,
    }),
  );
}

/**
 * @param input the request, unpacked
 * @param inputBytesMax of it
 * @throws client/…, forge/…, base/aborted, base/limit-exceeded
 */
export async function passRequest(
  about: PassThrough,
  input: ByteSource,
  inputBytesMax: number,
): Promise<PassedAnswer> {
  const transport = await openTransport(about);
  return passed(transport, async () => {
    const post = await transport.openPost({
      service: SERVICE,
      protocol: about.protocol,
      answerBytesMax: about.limits.passedThroughBytesMax,
    });
    let failure: unknown;
    const send = async (): Promise<void> => {
      let bytes = 0;
      for await (const chunk of input) {
        bytes += chunk.length;
        if (bytes > inputBytesMax)
          throw new GitwharfError(
            "base/limit-exceeded",
            `the request has more than ${inputBytesMax} bytes, the server's limit (requestBytesMax)`,
          );
        await post.write(chunk);
      }
      post.end();
    };
    send().catch((error: unknown) => {
      // Who reads no more says why.
      if (isGitwharfError(error, "base/aborted") && !about.signal.aborted) return;
      failure = error;
      post.cut();
    });
    try {
      return await post.answer();
    } catch (error) {
      post.cut();
      throw failure ?? error;
    }
  });
}

async function openTransport({ upstream, signal }: PassThrough): Promise<HttpTransport> {
  const { forge, repository, allowAddresses } = upstream;
  const credentials = await readingCredentials(forge, signal);
  return createHttpTransport(repository.cloneUrl, transportOptions({ allowAddresses, signal, credentials }));
}

async function passed(transport: HttpTransport, ask: () => Promise<HttpBody>): Promise<PassedAnswer> {
  try {
    const body = await ask();
    return {
      bytes: naming(transport, body),
      close() {
        body.close();
        transport.close();
      },
    };
  } catch (error) {
    transport.close();
    throw namedFailure(transport.shown, error);
  }
}

async function* naming(transport: HttpTransport, body: HttpBody): ByteSource {
  try {
    yield* body;
  } catch (error) {
    throw namedFailure(transport.shown, error);
  }
}
