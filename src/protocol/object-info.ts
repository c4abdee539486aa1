/**
 * The v2 command `object-info`: sizes without contents. Specification: gitprotocol-v2 "object-info".
 *
 * Differs from git, which answers for every object that exists: here for those that the caller could fetch; any other
 * is answered like one that is not there.
 */
import { isPromise } from "../base/maybe-promise.js";
import { type CommandRequest, readArguments } from "./wire/command-request.js";
import {
  createObjectInfoArguments,
  formatObjectInfoLine,
  takeObjectInfoArgument,
} from "./wire/object-info-line.js";
import { encodePktLine, FLUSH } from "./wire/pkt-line.js";
import { refusedWants } from "./upload-pack/check-wants.js";
import { takeSnapshot } from "./upload-pack/upload-pack-context.js";
import type { V2Conversation } from "./upload-pack/upload-pack-v2.js";
import { visibleRefs } from "./upload-pack/visible-refs.js";

/** @throws protocol/bad-request, base/limit-exceeded */
export async function answerObjectInfo(
  { context, reader, output }: V2Conversation,
  command: CommandRequest,
): Promise<void> {
  const { limits, repository } = context;
  const asked = createObjectInfoArguments();
  await readArguments(reader, command, (line) =>
    takeObjectInfoArgument(asked, line, { objectFormat: repository.objectFormat, limits }),
  );
  const snapshot = await takeSnapshot(context);
  try {
    const { objects } = snapshot;
    const refs = visibleRefs(context, snapshot.refs);
    const refused = new Set(await refusedWants({ context, snapshot, refs, statelessRpc: true }, asked.oids));
    if (asked.size && asked.oids.length > 0) await output.write(encodePktLine("size"));
    for (const oid of asked.oids) {
      const read = refused.has(oid) ? undefined : objects.readHeader(oid);
      const header = isPromise(read) ? await read : read;
      const line = header === undefined || asked.size ? formatObjectInfoLine(oid, header?.sizeBytes) : oid;
      const written = output.write(encodePktLine(line));
      if (isPromise(written)) await written;
    }
    await output.write(FLUSH);
  } finally {
    snapshot.release();
  }
}
