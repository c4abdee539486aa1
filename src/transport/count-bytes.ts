/** What a service reads and writes, counted for who looks on and for limits on bytes. */
import type { Activity } from "../base/activity.js";
import type { ByteSink, ByteSource } from "../base/byte-streams.js";

/** No generator: one that waits for bytes could not be ended before they come. */
export function countInput(input: ByteSource, activity: Activity): ByteSource {
  return {
    [Symbol.asyncIterator]() {
      const iterator = input[Symbol.asyncIterator]();
      return {
        async next() {
          const next = await iterator.next();
          if (next.done !== true) activity.received(next.value.length);
          return next;
        },
        return: async () => (await iterator.return?.()) ?? { done: true, value: undefined },
      };
    },
  };
}

export function countOutput(output: ByteSink, activity: Activity): ByteSink {
  return {
    write(...chunks) {
      for (const chunk of chunks) activity.sent(chunk.length);
      return output.write(...chunks);
    },
  };
}
