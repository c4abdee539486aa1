/**
 * How fine the time stamps of a file system are. Two changes within one grain leave the same stamp, so a stamp that
 * was young when it was read proves nothing.
 */
import * as fs from "node:fs";

/** Local file systems that stamp with the kernel's clock, which ticks every 10 ms or faster, by `statfs` type. */
const TICKING = new Set([
  0xef53, // ext2, ext3, ext4
  0x58465342, // xfs
  0x9123683e, // btrfs
  0x01021994, // tmpfs
  0x2fc12fc1, // zfs
  0x794c7630, // overlay
  0xf2f52010, // f2fs
]);
const TICK_MS = 50;
/** FAT keeps two seconds, and a file server's clock may be a little off. */
const COARSE_MS = 2100;

/** Milliseconds during which a stamp is not trusted. */
export function stampGrainMs(directory: string): number {
  try {
    return TICKING.has(fs.statfsSync(directory).type) ? TICK_MS : COARSE_MS;
  } catch {
    return COARSE_MS;
  }
}
