/** Counts the bytes of a service in both directions as they pass. */
import type { ByteSink, ByteSource } from "../base/byte-streams.js";

export interface Meter {
  readonly bytes: number;
  source(input: ByteSource): ByteSource;
  sink<S extends ByteSink>(output: S): ByteSink;
}

export function createMeter(): Meter {
  let bytes = 0;
  return {
    get bytes() {
      return bytes;
    },
    // No generator: that would keep `return` waiting for bytes which may never come.
    source: (input) => ({
      [Symbol.asyncIterator]() {
        const iterator = input[Symbol.asyncIterator]();
        return {
          async next() {
            const result = await iterator.next();
            if (result.done !== true) bytes += result.value.length;
            return result;
          },
          return: async () => (await iterator.return?.()) ?? { done: true, value: undefined },
        };
      },
    }),
    sink: (output) => ({
      write(...chunks) {
        for (const { length } of chunks) bytes += length;
        return output.write(...chunks);
      },
    }),
  };
}
