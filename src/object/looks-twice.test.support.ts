/**
 * The real detector with one thing changed: it looks at the content a second time, without the object's header, so
 * that half of a published collision is found in an object. No Git object that collides is known.
 */
import type { CollisionDetector } from "./collision-detection.js";

export function looksTwice(real: CollisionDetector): CollisionDetector {
  const unused = new Uint8Array(20);
  return {
    hash(head, body, target, at) {
      const crafted = real.hash(new Uint8Array(0), body, unused, 0);
      return real.hash(head, body, target, at) || crafted;
    },
    open() {
      const [whole, content] = [real.open(), real.open()];
      let pieces = 0;
      return {
        update(piece) {
          whole.update(piece);
          if (pieces++ > 0) content.update(piece);
        },
        digest(target, at) {
          const crafted = content.digest(unused, 0);
          return whole.digest(target, at) || crafted;
        },
      };
    },
  };
}
