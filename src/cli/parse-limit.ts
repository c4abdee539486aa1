/** `--limit NAME=VALUE`, which may be repeated. */
import { InvalidArgumentError } from "commander";

export function parseLimit(text: string, before: Record<string, number> = {}): Record<string, number> {
  const match = /^([A-Za-z]+)=([0-9]+|Infinity)$/.exec(text);
  if (match?.[1] === undefined)
    throw new InvalidArgumentError("write NAME=NUMBER, for instance packSizeBytesMax=1000000");
  return { ...before, [match[1]]: Number(match[2]) };
}
