/** Writes to a bucket in a directory until it is killed, and says what has been acknowledged: for directory-bucket.test.ts. */
import { writeSync } from "node:fs";
import { openDirectoryBucket } from "./directory-bucket.js";

const [, , directory = "", round = ""] = process.argv;
const bucket = await openDirectoryBucket({ directory });

async function write(writer: number): Promise<never> {
  for (let number = 0; ; number++) {
    const key = `p/${String(number % 7).padStart(2, "0")}/${round}-${writer}-${number}`;
    const bytes = Buffer.alloc(100_000, key);
    if (number % 2 === 0) await bucket.put(key, [bytes]);
    else {
      const upload = await bucket.createUpload(key);
      for (let at = 0; at < bytes.length; at += 10_000) await upload.append(bytes.subarray(at, at + 10_000));
      await upload.finish();
    }
    writeSync(1, `${key}\n`);
  }
}

await Promise.all([0, 1, 2].map(write));
