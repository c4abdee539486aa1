/** What one piece of work has cost, the middle of several, and how that is written. */

export interface BucketFigures {
  /** To a directory: calls. To S3: requests on the wire, those that were tried again among them. */
  readonly requests: number;
  readonly lists: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
}

export interface Figures {
  readonly wallMs: number;
  /** Of the server, whatever it starts, and of nobody else. undefined: not to be had. */
  readonly cpuMs?: number | undefined;
  readonly bucket?: BucketFigures | undefined;
}

/** As written in the page. */
export interface Table {
  readonly title?: string;
  readonly remarks?: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** Each figure by itself. */
export function medianOf(all: readonly Figures[]): Figures {
  const of = (figure: (each: Figures) => number | undefined): number | undefined =>
    middle(all.map(figure).filter((value) => value !== undefined));
  const bucket = (figure: keyof BucketFigures): number => of((each) => each.bucket?.[figure]) ?? 0;
  const hasBucket = all.some((each) => each.bucket !== undefined);
  return {
    wallMs: of(({ wallMs }) => wallMs) ?? Number.NaN,
    cpuMs: of(({ cpuMs }) => cpuMs),
    ...(hasBucket
      ? {
          bucket: {
            requests: bucket("requests"),
            lists: bucket("lists"),
            readBytes: bucket("readBytes"),
            writtenBytes: bucket("writtenBytes"),
          },
        }
      : {}),
  };
}

export function middle(values: readonly number[]): number | undefined {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

export function milliseconds(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return "–";
  if (value >= 1000) return `${(value / 1000).toFixed(2)} s`;
  return `${value.toFixed(value < 10 ? 2 : 0)} ms`;
}

/** In steps of 1,000. */
export function bytes(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return "–";
  if (value >= 1e9) return `${(value / 1e9).toFixed(2)} GB`;
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} MB`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(0)} kB`;
  return `${value.toFixed(0)} B`;
}

export function count(value: number | undefined): string {
  return value === undefined ? "–" : value.toLocaleString("en");
}

export function ratio(a: number | undefined, b: number | undefined): string {
  if (a === undefined || b === undefined || !(b > 0)) return "–";
  const value = a / b;
  return `**${value < 0.01 ? value.toPrecision(1) : value.toFixed(2)}**`;
}
