/** Gives a command to the server of this machine that looks after the apps. */
import { type IncomingMessage, request } from "node:http";
import { GitwharfError } from "../../base/errors.js";
import { type ControlAnswer, type ControlCall, errorOfControl } from "./control-messages.js";

export interface ControlCallOptions {
  readonly onOutput?: (chunk: Uint8Array) => void | Promise<void>;
  readonly signal?: AbortSignal;
}

/** @throws deploy/no-answer: no server is there, or it broke off; what the server threw */
export async function callControl(
  path: string,
  call: ControlCall,
  { onOutput, signal }: ControlCallOptions = {},
): Promise<unknown> {
  for await (const line of answerLines(path, call, signal)) {
    const answer = JSON.parse(line) as ControlAnswer;
    if ("output" in answer) await onOutput?.(Buffer.from(answer.output, "base64"));
    else if ("error" in answer) throw errorOfControl(answer.error);
    else if ("result" in answer) return answer.result;
  }
  throw new GitwharfError("deploy/no-answer", "the server broke off before the command was through");
}

async function* answerLines(
  path: string,
  call: ControlCall,
  signal: AbortSignal | undefined,
): AsyncGenerator<string> {
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const asked = request({
      socketPath: path,
      method: "POST",
      path: "/",
      agent: false,
      ...(signal === undefined ? {} : { signal }),
    });
    asked.once("response", resolve);
    asked.once("error", (cause) =>
      reject(
        new GitwharfError(
          "deploy/no-answer",
          `no server that deploys apps takes commands on ${path}; start it, or name its directory with --directory`,
          { cause },
        ),
      ),
    );
    asked.end(JSON.stringify(call));
  });
  answer.setEncoding("utf8");
  let rest = "";
  try {
    for await (const chunk of answer as AsyncIterable<string>) {
      const parts = (rest + chunk).split("\n");
      rest = parts.pop() ?? "";
      yield* parts;
    }
  } catch (cause) {
    throw new GitwharfError("deploy/no-answer", "the server broke off before the command was through", {
      cause,
    });
  }
}
