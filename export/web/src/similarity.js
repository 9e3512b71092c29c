/** Similarity of two faces. */

/** Returns the cosine of two embeddings of any length, or 0 if one of them is zero. */
export function cosine(a, b) {
  const [u, v] = [unit(a), unit(b)];
  return u.reduce((sum, value, i) => sum + value * v[i], 0);
}

/**
 * Returns the similarity that thresholds are for: cos(v̄a, v̄b) − β·D(v̂a, v̂b)^γ (arXiv 2005.10497,
 * section 3.4). With β = 0, it is the cosine.
 *
 * @param {{embedding: Float32Array, groupFeature: ?Float32Array}} a
 * @param {{embedding: Float32Array, groupFeature: ?Float32Array}} b
 * @param {{beta: number, gamma: number, distance: string}} similarity
 * @throws {Error} if group features are needed and missing.
 */
export function similarityOf(a, b, { beta, gamma, distance }) {
  const alike = cosine(a.embedding, b.embedding);
  if (beta === 0) return alike;
  if (!a.groupFeature || !b.groupFeature) {
    throw new Error("The thresholds are for the group-aware similarity, but the model has no groups.");
  }
  const [u, v] = [unit(a.groupFeature), unit(b.groupFeature)];
  const square = u.reduce((sum, value, i) => sum + (value - v[i]) ** 2, 0);
  const apart = { l2: Math.sqrt(square), "squared-l2": square, cosine: square / 2 }[distance];
  if (apart === undefined) throw new Error(`The thresholds name an unknown distance, ${distance}.`);
  return alike - beta * apart ** gamma;
}

/** Returns probabilities from logits. */
export function softmax(logits) {
  // Subtracting the largest logit avoids an overflow.
  const largest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

function unit(vector) {
  const norm = Math.hypot(...vector) || 1;
  return Array.from(vector, (value) => value / norm);
}
