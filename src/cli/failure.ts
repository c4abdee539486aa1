/** What a command could not do: one sentence, exit code 1. */
export function fail(message: string): void {
  console.error(`gitwharf: ${message}`);
  process.exitCode = 1;
}

/** All of standard input, one line break at its end taken off. */
export async function readStandardInput(bytesMax = 1024 * 1024): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bytesMax) break;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks)
    .toString("utf8")
    .replace(/\r?\n$/, "");
}
