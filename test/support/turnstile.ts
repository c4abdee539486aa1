/**
 * Lets one call through at a time, in an order that the test chooses: the next one is chosen once every lane that is at work
 * waits here. A lane that waits for another one instead, inside of what they share, is noticed by the time that passes.
 */
export class Turnstile {
  readonly #choose: (count: number) => number;
  readonly #working = new Set<number>();
  #waiting: { readonly lane: number; readonly owner: object; readonly go: () => void }[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** @param choose a number below `count` */
  constructor(choose: (count: number) => number) {
    this.#choose = choose;
  }

  begin(lane: number): void {
    this.#working.add(lane);
    this.#look();
  }

  end(lane: number): void {
    this.#working.delete(lane);
    this.#look();
  }

  /** What waits here for this owner never goes on. */
  drop(owner: object): void {
    this.#waiting = this.#waiting.filter((each) => each.owner !== owner);
    this.#look();
  }

  pass(lane: number, owner: object): Promise<void> {
    return new Promise((go) => {
      this.#waiting.push({ lane, owner, go });
      this.#look();
    });
  }

  #look(): void {
    clearTimeout(this.#timer);
    if (this.#waiting.length === 0) return;
    const waiting = new Set(this.#waiting.map(({ lane }) => lane));
    if ([...this.#working].every((lane) => waiting.has(lane))) this.#letOne();
    else this.#timer = setTimeout(() => this.#letOne(), STUCK_MS);
  }

  #letOne(): void {
    const [next] = this.#waiting.splice(this.#choose(this.#waiting.length), 1);
    next?.go();
    // Not the next one at once: what this one leads to may be a call of its own.
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), STUCK_MS);
  }
}

/** Longer than what is done between two calls: files of this machine, a few KiB. */
const STUCK_MS = 20;
