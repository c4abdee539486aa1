// Where things lie in the module's memory. The compiler's own static data (the vectors' differences, the masks of the
// conditions) lies below SCHEDULE; `build/build.ts` checks it.
//
// OFFSET   SIZE    MEANING
// 16384    1280    SCHEDULE: the 80 expanded words of four blocks; word t of block n at 16t + 4n
// 17664    1280    KEYED: the same words with the constant of their step added
// 18944    16      ALIVE: a mask of the disturbance vectors for each of the four blocks
// 18960    20      STATE: the five words of the chaining value
// 18980    20      AT_58: the state of the block in work before step 58
// 19000    20      AT_65: the same before step 65
// 19072    20      DIGEST: big-endian
// 65536    65792   INPUT: up to 64 KiB of message, then room for the padding and for reading a group of four blocks
export const SCHEDULE: usize = 16384;
export const KEYED: usize = 17664;
export const ALIVE: usize = 18944;
export const STATE: usize = 18960;
export const AT_58: usize = 18980;
export const AT_65: usize = 19000;
export const DIGEST: usize = 19072;
export const INPUT: usize = 65536;
export const BLOCK: usize = 64;
export const GROUP: usize = 4;
