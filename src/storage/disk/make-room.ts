/** Writing to a disk that may be full, with something on it that can be done without. */
import type { MaybePromise } from "../../base/maybe-promise.js";
import { writeDescriptor } from "./descriptor.js";
import { errorCode } from "./file-errors.js";

/** @returns false when there was nothing to remove */
export type MakeRoom = () => MaybePromise<boolean>;

/**
 * As `writeDescriptor`; when the disk is full, again for as long as something could be removed, and once more: what others
 * removed before we asked is room, too.
 * @throws the error of the file system as it is
 */
export async function writeMakingRoom(
  fd: number,
  bytes: Uint8Array,
  position: number,
  makeRoom: MakeRoom = () => false,
): Promise<void> {
  for (let isLast = false; ; ) {
    try {
      return await writeDescriptor(fd, bytes, position);
    } catch (error) {
      const isFull = errorCode(error) === "ENOSPC" || errorCode(error) === "EDQUOT";
      if (!isFull || isLast) throw error;
      isLast = !(await makeRoom());
    }
  }
}
