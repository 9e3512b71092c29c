/** Embedding of aligned faces on the device with LiteRT.js. */

import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";
import { checkHash, readCard } from "./card.js";
import { fetchBytes, fetchJson } from "./files.js";

const EXPORT_HINT = "Write it with gfkeras export MODEL --format tflite --batch-size 1.";
let runtime = null;

/**
 * The embedding of a face. Without groups, the last three fields are null.
 * @typedef {{embedding: Float32Array, groupFeature: ?Float32Array, groupLogits: ?Float32Array,
 *   group: ?number}} Embedding
 */

/** A .tflite file of gfkeras that runs in the browser. */
export class Embedder {
  #model;

  constructor(model, card, bytes) {
    this.#model = model;
    /** The result of `readCard`. */
    this.card = card;
    /** Size of the file in bytes. */
    this.bytes = bytes;
  }

  /**
   * Loads PATH.tflite and PATH.tflite.json.
   *
   * @param {string} url of the .tflite
   * @throws {Error} if a file is missing, damaged or of another kind.
   */
  static async load(url) {
    const card = readCard(await fetchJson(`${url}.json`, `It is the card of ${url}.`), `${url}.json`);
    const bytes = await fetchBytes(url, EXPORT_HINT);
    await checkHash(bytes, card.sha256, url);
    const wasm = new URL("../node_modules/@litertjs/core/wasm/", import.meta.url).href;
    runtime ??= loadLiteRt(wasm, { threads: globalThis.crossOriginIsolated === true });
    await runtime;
    let model;
    try {
      model = await loadAndCompile(bytes, { accelerator: "wasm" });
      const embedder = new Embedder(model, card, bytes.length);
      // Run once now: the first run also prepares the weights and would distort the latency.
      await embedder.embed(new Float32Array(card.size * card.size * 3));
      return embedder;
    } catch (error) {
      throw new Error(`${url} cannot be run by LiteRT.js: ${error?.message ?? error}`);
    }
  }

  /**
   * @param {import("./photo.js").Pixels | Float32Array} face an aligned face: pixels, or RGB values
   *   from 0 to 255, (size, size, 3)
   * @returns {Promise<Embedding>}
   */
  async embed(face) {
    const { size, input } = this.card;
    const values = face instanceof Float32Array ? face : rgb(face);
    const tensor = new Tensor(values, [1, size, size, 3]);
    const results = await this.#model.run({ [input]: tensor });
    tensor.delete();
    const found = {};
    for (const [name, result] of Object.entries(results)) {
      found[name] = (await result.data()).slice();
      result.delete();
    }
    const logits = found.group_logits ?? null;
    return {
      embedding: found.embedding,
      groupFeature: found.group_feature ?? null,
      groupLogits: logits,
      group: logits && logits.indexOf(Math.max(...logits)),
    };
  }
}

function rgb({ data }) {
  const values = new Float32Array((data.length / 4) * 3);
  for (let i = 0, j = 0; i < data.length; i += 4) {
    values[j++] = data[i];
    values[j++] = data[i + 1];
    values[j++] = data[i + 2];
  }
  return values;
}
