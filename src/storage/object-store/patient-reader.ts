/** Nodes from the database for work in the background: it lets others have their turn. */
import { othersTurn } from "../../base/others-turn.js";
import type { MetadataStore } from "./metadata/metadata-store.js";
import { corrupt } from "./tree/canonical-bytes.js";
import type { NodeReader } from "./tree/node.js";

/** SQLite answers at once, and hashing takes time. What is not there is storage/corrupt; what is, nobody has hashed. */
export function patientReader(metadata: Pick<MetadataStore, "readNodes">, networkId: string): NodeReader {
  return {
    async read(ids) {
      await othersTurn();
      const found = await metadata.readNodes(networkId, ids);
      return ids.map((id) => {
        const bytes = found.get(id);
        if (bytes === undefined) throw corrupt(`a node (${id})`, "it is not there");
        return bytes;
      });
    },
  };
}
