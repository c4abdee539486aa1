/** What a build says, in the form that Heroku made usual: headings behind an arrow, details indented by seven spaces. */
import type { MaybePromise } from "../../base/maybe-promise.js";

export interface BuildOutput {
  /** `-----> Node.js app detected` */
  heading(text: string): Promise<void>;
  /** Indented. */
  detail(text: string): Promise<void>;
  /** ` !     …` */
  warning(text: string): Promise<void>;
  /** As it is: buildpacks have headings of their own. */
  raw(bytes: Uint8Array): Promise<void>;
  /** Every line indented, as they come; `end` when nothing more does. */
  indented(): { write(bytes: Uint8Array): Promise<void>; end(): Promise<void> };
}

const INDENTATION = "       ";

export function createBuildOutput(write: (bytes: Uint8Array) => MaybePromise<void>): BuildOutput {
  /** A heading begins a line, whatever a program left unfinished. */
  let isAtStart = true;
  const put = async (bytes: Uint8Array): Promise<void> => {
    if (bytes.length === 0) return;
    isAtStart = bytes.at(-1) === 0x0a;
    await write(bytes);
  };
  const line = async (prefix: string, rest: string, text: string): Promise<void> => {
    const lines = text.split("\n").map((each, i) => `${i === 0 ? prefix : rest}${each}`.trimEnd());
    await put(Buffer.from(`${isAtStart ? "" : "\n"}${lines.join("\n")}\n`));
  };
  return {
    heading: (text) => line("-----> ", INDENTATION, text),
    detail: (text) => line(INDENTATION, INDENTATION, text),
    warning: (text) => line(" !     ", " !     ", text),
    raw: put,
    indented() {
      let isNew = true;
      return {
        async write(bytes) {
          const out: Uint8Array[] = [];
          for (let at = 0; at < bytes.length; ) {
            const feed = bytes.indexOf(0x0a, at);
            const end = feed < 0 ? bytes.length : feed + 1;
            if (isNew && feed !== at) out.push(Buffer.from(INDENTATION));
            out.push(bytes.subarray(at, end));
            isNew = feed >= 0;
            at = end;
          }
          await put(Buffer.concat(out));
        },
        async end() {
          if (!isNew) await put(Buffer.from("\n"));
          isNew = true;
        },
      };
    },
  };
}
