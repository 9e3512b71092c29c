/** How alike two faces are. */

/** The cosine of two embeddings of any length; 0 where one has no direction. */
export function cosine(a, b) {
  const [u, v] = [unit(a), unit(b)];
  return u.reduce((sum, value, i) => sum + value * v[i], 0);
}

/**
 * The similarity that thresholds are of: cos(v̄a, v̄b) − β·D(v̂a, v̂b)^γ (arXiv 2005.10497, 3.4);
 * with β = 0 the cosine.
 *
 * @param {{embedding: Float32Array, groupFeature: ?Float32Array}} a
 * @param {{embedding: Float32Array, groupFeature: ?Float32Array}} b
 * @param {{beta: number, gamma: number, distance: string}} similarity
 * @throws {Error} where group features are needed and missing.
 */
export function similarityOf(a, b, { beta, gamma, distance }) {
  const alike = cosine(a.embedding, b.embedding);
  if (beta === 0) return alike;
  if (!a.groupFeature || !b.groupFeature) {
    throw new Error("The thresholds are of a group-aware similarity, and the model has no groups.");
  }
  const [u, v] = [unit(a.groupFeature), unit(b.groupFeature)];
  const square = u.reduce((sum, value, i) => sum + (value - v[i]) ** 2, 0);
  const apart = { l2: Math.sqrt(square), "squared-l2": square, cosine: square / 2 }[distance];
  if (apart === undefined) throw new Error(`The thresholds name an unknown distance, ${distance}.`);
  return alike - beta * apart ** gamma;
}

/** Probabilities from logits. */
export function softmax(logits) {
  const largest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

function unit(vector) {
  const norm = Math.hypot(...vector) || 1;
  return Array.from(vector, (value) => value / norm);
}
