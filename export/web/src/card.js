/** The artefact's card, `MODEL.tflite.json`: what goes in, what comes out, its hash, thresholds. */

const SMALLEST_USUAL_FAR = 1e-3;
// A FAR at which fewer of the impostor pairs are expected to be accepted says little.
const FEWEST_FALSE_ACCEPTS = 10;

/**
 * What the page needs of a card.
 *
 * @param {any} card parsed JSON
 * @param {string} url its address, for messages
 * @returns {{size: number, input: string, outputs: string[], precision: string, mode: ?string,
 *   sha256: string, fingerprints: string[], fingerprint: string, thresholds: any}}
 * @throws {Error} for something else, and for a model that LiteRT.js does not run.
 */
export function readCard(card, url) {
  const [input, ...others] = card?.inputs ?? [];
  const outputs = card?.outputs ?? [];
  const names = outputs.map(({ name }) => name);
  if (others.length || input?.shape?.length !== 4 || !names.includes("embedding")) {
    throw new Error(`${url} is no card of a face model, as gfkeras export writes one.`);
  }
  const [batch, height, width, channels] = input.shape;
  if (batch !== 1) {
    throw new Error("LiteRT.js needs a fixed batch of 1: gfkeras export … --batch-size 1");
  }
  if (height !== width || channels !== 3) {
    throw new Error(`The page needs a model of square RGB images; ${url} says ${input.shape}.`);
  }
  if ([input, ...outputs].some(({ dtype }) => dtype !== "float32")) {
    throw new Error("The page needs float32 ends: gfkeras export without --inputs or --outputs int8");
  }
  const precision = card.precision ?? "fp32";
  return {
    size: height,
    input: input.name,
    outputs: names,
    precision,
    mode: card.mode ?? null,
    sha256: card.sha256 ?? "",
    // What thresholds beside it may name: a rounded model is another one than the float model.
    fingerprints: [card.sha256, ["fp32", "fp16"].includes(precision) && card.fingerprint].filter(Boolean),
    // Its own thresholds name the float model at every precision, and say so in their origin.
    fingerprint: card.fingerprint ?? "",
    thresholds: card.thresholds ?? null,
  };
}

/**
 * Throws an error where a file is not the one that its card describes.
 *
 * Nothing is checked where the browser has no hashes: over http, except on this machine.
 *
 * @param {Uint8Array} bytes
 * @param {string} sha256 of the card
 * @param {string} url the file's address, for the message
 */
export async function checkHash(bytes, sha256, url) {
  if (!sha256 || !globalThis.crypto?.subtle) return;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const found = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found !== sha256) {
    throw new Error(`${url} is damaged, or not the file of its card: another SHA-256.`);
  }
}

/**
 * The thresholds of a model: those beside it, else those of its card, as in gfkeras.
 *
 * @param {any} beside content of MODEL.thresholds.json; null where there is none
 * @param {object} card as `readCard` gives it
 */
export function chooseThresholds(beside, card) {
  if (beside) return readThresholds(beside, card.fingerprints);
  return readThresholds(card.thresholds, [card.fingerprint]);
}

/**
 * Thresholds by FAR, the loosest first; FARs that rest on too few impostor pairs are not offered.
 *
 * @param {any} content as `Thresholds.save` of gfkeras writes it; null where there are none
 * @param {string[]} fingerprints of the model, any of which the thresholds may name
 * @returns {?{similarity: {beta: number, gamma: number, distance: string}, origin: string,
 *   impostor: number, points: {far: number, threshold: number}[], usual: number}} usual: the FAR
 *   to begin with
 * @throws {Error} for something else, and for thresholds of another model.
 */
export function readThresholds(content, fingerprints) {
  if (!content) return null;
  const points = Object.entries(content.at_far ?? {})
    .map(([far, threshold]) => ({ far: Number(far), threshold }))
    .sort((a, b) => b.far - a.far);
  const similarity = { beta: 0, gamma: 1 / 3, distance: "l2", ...content.similarity };
  const { impostor } = content;
  // What the similarity can reach; the group-aware one may lie below −1.
  const farthest = similarity.distance === "squared-l2" ? 4 : 2;
  const least = -1 - similarity.beta * farthest ** similarity.gamma - 1e-6;
  const reachable = (value) => typeof value === "number" && value >= least && value <= 1 + 1e-6;
  const right = points.every((p) => p.far > 0 && p.far <= 1 && reachable(p.threshold));
  if (!points.length || !right || !Number.isInteger(impostor) || impostor < 1) {
    throw new Error("The thresholds are not as gfkeras evaluate --thresholds writes them.");
  }
  if (content.model && !fingerprints.includes(content.model)) {
    throw new Error("The thresholds are those of another model.");
  }
  const fewest = FEWEST_FALSE_ACCEPTS * (1 - 1e-9);
  const offered = points.filter(({ far }) => far * impostor >= fewest);
  if (!offered.length) {
    throw new Error(`The thresholds rest on ${impostor} impostor pairs only, which are too few.`);
  }
  const usual = offered.filter(({ far }) => far >= SMALLEST_USUAL_FAR * 0.999).at(-1) ?? offered[0];
  return { similarity, origin: content.origin ?? "", impostor, points: offered, usual: usual.far };
}

/** Wilson's 95 % interval of a FAR, as if its impostor pairs were independent. */
export function farInterval(far, impostor) {
  const z = 1.959964;
  const scale = 1 + (z * z) / impostor;
  const middle = far + (z * z) / (2 * impostor);
  const half = z * Math.sqrt((far * (1 - far)) / impostor + (z * z) / (4 * impostor ** 2));
  return [Math.max((middle - half) / scale, 0), Math.min((middle + half) / scale, 1)];
}
