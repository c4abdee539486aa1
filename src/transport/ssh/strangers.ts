/**
 * Connections on which nobody has signed in yet, so many at most. For one more, the oldest of the address that has the most
 * of them goes: a crowd from one place pushes out its own and not who is just about to sign in from another.
 */
import type { Socket } from "node:net";

export interface Strangers {
  /** Closes another one when there are too many. */
  add(socket: Socket, address: string): void;
  remove(socket: Socket): void;
}

export function createStrangers(max: number): Strangers {
  const addresses = new Map<Socket, string>();
  /** Oldest first; none is empty. */
  const groups = new Map<string, Set<Socket>>();
  const remove = (socket: Socket): void => {
    const address = addresses.get(socket);
    if (address === undefined) return;
    addresses.delete(socket);
    const group = groups.get(address);
    group?.delete(socket);
    if (group?.size === 0) groups.delete(address);
  };
  return {
    add(socket, address) {
      addresses.set(socket, address);
      const group = groups.get(address);
      if (group === undefined) groups.set(address, new Set([socket]));
      else group.add(socket);
      const oldest = addresses.size > max ? oldestOfMost(groups) : undefined;
      if (oldest === undefined) return;
      remove(oldest);
      oldest.destroy();
    },
    remove,
  };
}

function oldestOfMost(groups: ReadonlyMap<string, ReadonlySet<Socket>>): Socket | undefined {
  let most: ReadonlySet<Socket> = new Set();
  for (const group of groups.values()) if (group.size > most.size) most = group;
  return most.values().next().value;
}
