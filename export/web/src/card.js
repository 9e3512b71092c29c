/** The artefact's card, `MODEL.tflite.json`: inputs, outputs, hash and thresholds. */

const SMALLEST_USUAL_FAR = 1e-3;
// A FAR with fewer expected false accepts among the impostor pairs is unreliable.
const FEWEST_FALSE_ACCEPTS = 10;

/**
 * Returns the fields of a card that the page needs.
 *
 * @param {any} card parsed JSON
 * @param {string} url address of the card, for messages
 * @returns {{size: number, input: string, outputs: string[], precision: string, mode: ?string,
 *   sha256: string, fingerprints: string[], fingerprint: string, thresholds: any}}
 * @throws {Error} if it is not a card, or if LiteRT.js cannot run the model.
 */
export function readCard(card, url) {
  const [input, ...others] = card?.inputs ?? [];
  const outputs = card?.outputs ?? [];
  const names = outputs.map(({ name }) => name);
  if (others.length || input?.shape?.length !== 4 || !names.includes("embedding")) {
    throw new Error(`${url} is not the card of a face model that gfkeras export wrote.`);
  }
  const [batch, height, width, channels] = input.shape;
  if (batch !== 1) {
    throw new Error("The model must have a batch size of 1. Use gfkeras export … --batch-size 1.");
  }
  if (height !== width || channels !== 3) {
    throw new Error(`The model must take square RGB images. ${url} says ${input.shape}.`);
  }
  if ([input, ...outputs].some(({ dtype }) => dtype !== "float32")) {
    throw new Error(
      "The model must have float32 inputs and outputs. " +
        "Use gfkeras export without --inputs and --outputs.",
    );
  }
  const precision = card.precision ?? "fp32";
  return {
    size: height,
    input: input.name,
    outputs: names,
    precision,
    mode: card.mode ?? null,
    sha256: card.sha256 ?? "",
    // The models that a thresholds file can be for. An int8 model is not the float model, so the
    // thresholds of the float model do not apply to it.
    fingerprints: [card.sha256, ["fp32", "fp16"].includes(precision) && card.fingerprint].filter(Boolean),
    // The thresholds in a card are for the float model, at every precision.
    fingerprint: card.fingerprint ?? "",
    thresholds: card.thresholds ?? null,
  };
}

/**
 * Throws an error if a file is not the one that its card describes.
 *
 * Over http, browsers can compute hashes only on the same machine. Otherwise nothing is checked.
 *
 * @param {Uint8Array} bytes content of the file
 * @param {string} sha256 SHA-256 in the card
 * @param {string} url address of the file, for the message
 */
export async function checkHash(bytes, sha256, url) {
  if (!sha256 || !globalThis.crypto?.subtle) return;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const found = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found !== sha256) {
    throw new Error(`${url} is damaged or was replaced: its SHA-256 is not the one in the card.`);
  }
}

/**
 * Returns the thresholds of a model: from its thresholds file, or else from its card.
 *
 * @param {any} beside content of MODEL.thresholds.json, or null without this file
 * @param {object} card result of `readCard`
 */
export function chooseThresholds(beside, card) {
  if (beside) return readThresholds(beside, card.fingerprints);
  return readThresholds(card.thresholds, [card.fingerprint]);
}

/**
 * Returns thresholds by FAR, with the highest FAR first. FARs with too few pairs are left out.
 *
 * @param {any} content as `Thresholds.save` of gfkeras writes it, or null without thresholds
 * @param {string[]} fingerprints of the model. The thresholds must be for one of them.
 * @returns {?{similarity: {beta: number, gamma: number, distance: string}, origin: string,
 *   impostor: number, points: {far: number, threshold: number}[], usual: number}} usual is the FAR
 *   to show first
 * @throws {Error} if the thresholds are damaged or for another model.
 */
export function readThresholds(content, fingerprints) {
  if (!content) return null;
  const points = Object.entries(content.at_far ?? {})
    .map(([far, threshold]) => ({ far: Number(far), threshold }))
    .sort((a, b) => b.far - a.far);
  const similarity = { beta: 0, gamma: 1 / 3, distance: "l2", ...content.similarity };
  const { impostor } = content;
  // The range of the similarity. The group-aware similarity can be less than −1.
  const farthest = similarity.distance === "squared-l2" ? 4 : 2;
  const least = -1 - similarity.beta * farthest ** similarity.gamma - 1e-6;
  const reachable = (value) => typeof value === "number" && value >= least && value <= 1 + 1e-6;
  const right = points.every((p) => p.far > 0 && p.far <= 1 && reachable(p.threshold));
  if (!points.length || !right || !Number.isInteger(impostor) || impostor < 1) {
    throw new Error("The thresholds are damaged. Use gfkeras evaluate --thresholds again.");
  }
  if (content.model && !fingerprints.includes(content.model)) {
    throw new Error("The thresholds are for another model.");
  }
  const fewest = FEWEST_FALSE_ACCEPTS * (1 - 1e-9);
  const offered = points.filter(({ far }) => far * impostor >= fewest);
  if (!offered.length) {
    throw new Error(`The thresholds were measured on too few impostor pairs: ${impostor}.`);
  }
  const usual = offered.filter(({ far }) => far >= SMALLEST_USUAL_FAR * 0.999).at(-1) ?? offered[0];
  return { similarity, origin: content.origin ?? "", impostor, points: offered, usual: usual.far };
}

/** Returns Wilson's 95 % interval of a FAR, for independent impostor pairs. */
export function farInterval(far, impostor) {
  const z = 1.959964;
  const scale = 1 + (z * z) / impostor;
  const middle = far + (z * z) / (2 * impostor);
  const half = z * Math.sqrt((far * (1 - far)) / impostor + (z * z) / (4 * impostor ** 2));
  return [Math.max((middle - half) / scale, 0), Math.min((middle + half) / scale, 1)];
}
