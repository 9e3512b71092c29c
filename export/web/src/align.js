/** Alignment of a face in a photo, as in `align_face` of gfkeras. */

import { cut, resize } from "./photo.js";

// Places of left eye, right eye, nose and corners of the mouth in ArcFace's template of 112×112.
const TEMPLATE = [
  [38.2946, 51.6963],
  [73.5318, 51.5014],
  [56.0252, 71.7366],
  [41.5493, 92.3655],
  [70.7299, 92.2041],
];
const TEMPLATE_SIZE = 112;
// Blocks to keep around the face, beyond the pixels that bilinear sampling reads.
const MARGIN = 3;

/**
 * Returns the similarity transform that maps points to targets with the least squared error
 * (Umeyama's estimate in closed form).
 *
 * @param {number[][]} points (x, y)
 * @param {number[][]} targets (x, y), as many as points
 * @returns {{a: number, b: number, x: number, y: number}}
 *   (px, py) ↦ (a·px − b·py + x, b·px + a·py + y)
 * @throws {Error} if the points do not determine a transform.
 */
export function similarityTransform(points, targets) {
  const [px, py] = mean(points);
  const [qx, qy] = mean(targets);
  let [real, imaginary, spread] = [0, 0, 0];
  points.forEach(([x, y], i) => {
    const [zx, zy, wx, wy] = [x - px, y - py, targets[i][0] - qx, targets[i][1] - qy];
    real += zx * wx + zy * wy;
    imaginary += zx * wy - zy * wx;
    spread += zx * zx + zy * zy;
  });
  const [a, b] = [real / spread, imaginary / spread];
  if (!(Math.hypot(a, b) > 1e-9)) throw new Error("The landmarks are not laid out like a face.");
  return { a, b, x: qx - (a * px - b * py), y: qy - (b * px + a * py) };
}

/**
 * Returns a face of a photo, rotated, scaled and shifted to ArcFace's template.
 *
 * Sampling is bilinear. If the face shrinks to half or less, blocks of pixels are averaged first.
 * Pixels outside the photo are black.
 *
 * @param {import("./photo.js").Pixels} photo
 * @param {number[][]} landmarks five points (x, y) in the photo
 * @param {number} size side of the result in pixels
 * @returns {import("./photo.js").Pixels}
 */
export function alignFace(photo, landmarks, size = TEMPLATE_SIZE) {
  const template = faceTemplate(size);
  const whole = similarityTransform(landmarks, template);
  const scale = Math.hypot(whole.a, whole.b);
  const block = Math.min(Math.max(1, Math.floor(1 / scale)), photo.width, photo.height);
  if (block === 1) return warp(photo, whole, size);
  const [left, top, right, bottom] = needed(photo, whole, size, block);
  if (left >= right || top >= bottom) throw new Error("The landmarks are outside the photo.");
  const [columns, rows] = [right - left, bottom - top].map((side) => Math.ceil(side / block));
  const part = cut(photo, left, top, columns * block, rows * block);
  const points = landmarks.map(([x, y]) => [
    (x - left + 0.5) / block - 0.5,
    (y - top + 0.5) / block - 0.5,
  ]);
  return warp(resize(part, columns, rows), similarityTransform(points, template), size);
}

/** Returns the places of the five landmarks in an aligned face of another size. */
export function faceTemplate(size) {
  return TEMPLATE.map((point) => point.map((value) => scaledTemplate(value, size)));
}

function scaledTemplate(value, size) {
  // The center of a pixel has whole coordinates, so the middle of n pixels is at (n - 1) / 2.
  return ((value - (TEMPLATE_SIZE - 1) / 2) * size) / TEMPLATE_SIZE + (size - 1) / 2;
}

/** Returns left, top, right and bottom of the part of the photo that is needed, in whole blocks. */
function needed(photo, { a, b, x, y }, size, block) {
  const square = a * a + b * b;
  const corners = [[0, 0], [size, 0], [0, size], [size, size]].map(([u, v]) => {
    const [du, dv] = [u - 0.5 - x, v - 0.5 - y];
    return [(a * du + b * dv) / square, (a * dv - b * du) / square];
  });
  return [
    ...[0, 1].map((axis) => edge(Math.min(...corners.map((c) => c[axis])), -1, axis)),
    ...[0, 1].map((axis) => edge(Math.max(...corners.map((c) => c[axis])), 1, axis)),
  ];

  function edge(value, side, axis) {
    const blocks = (value + side * MARGIN * block) / block;
    const whole = (side < 0 ? Math.floor(blocks) : Math.ceil(blocks)) * block;
    return Math.min(Math.max(whole, 0), axis ? photo.height : photo.width);
  }
}

/** Samples each pixel of the result bilinearly from four pixels of the photo. */
function warp(photo, { a, b, x, y }, size) {
  const data = new Uint8ClampedArray(size * size * 4);
  const square = a * a + b * b;
  for (let v = 0; v < size; v++) {
    for (let u = 0; u < size; u++) {
      const sx = (a * (u - x) + b * (v - y)) / square;
      const sy = (a * (v - y) - b * (u - x)) / square;
      const left = Math.floor(sx);
      const top = Math.floor(sy);
      const fx = sx - left;
      const fy = sy - top;
      const to = (v * size + u) * 4;
      for (let c = 0; c < 3; c++) {
        const upper = (1 - fx) * valueAt(photo, left, top, c) + fx * valueAt(photo, left + 1, top, c);
        const lower =
          (1 - fx) * valueAt(photo, left, top + 1, c) + fx * valueAt(photo, left + 1, top + 1, c);
        data[to + c] = (1 - fy) * upper + fy * lower;
      }
      data[to + 3] = 255;
    }
  }
  return { width: size, height: size, data };
}

function valueAt({ data, width, height }, column, row, channel) {
  if (column < 0 || row < 0 || column >= width || row >= height) return 0;
  return data[(row * width + column) * 4 + channel];
}

function mean(points) {
  return [0, 1].map((axis) => points.reduce((sum, p) => sum + p[axis], 0) / points.length);
}
