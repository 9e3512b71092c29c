/** Inputs and outputs of YuNet, a network that finds faces and five landmarks. */

const STRIDES = [8, 16, 32];
const PAD_TO = 32;

/**
 * A face in a photo, in pixels of the photo.
 * @typedef {{box: number[], landmarks: number[][], score: number}} Face
 *   box: x, y, width and height. landmarks: (x, y) of left eye, right eye, tip of the nose, left and
 *   right corner of the mouth, as seen in the image.
 */

/**
 * Returns the file of YuNet with free height and width instead of 640×640.
 *
 * A photo is then searched at its own size, as in OpenCV, which ignores the size in the file. The
 * bytes can be replaced in place, because the ONNX encodings of `dim {dim_value: 640}` and
 * `dim {dim_param: "h"}` have the same length.
 *
 * @param {Uint8Array} model
 * @returns {Uint8Array}
 * @throws {Error} if it is another file.
 */
export function withFreeSize(model) {
  const fixed = [0x0a, 3, 0x08, 0x80, 0x05];
  const found = [];
  for (let i = 0; i + fixed.length <= model.length; i++) {
    if (fixed.every((byte, offset) => model[i + offset] === byte)) found.push(i);
  }
  if (found.length !== 2 || found[1] !== found[0] + fixed.length) {
    throw new Error("expected face_detection_yunet_2023mar.onnx, received another file");
  }
  const free = model.slice();
  free.set([0x0a, 3, 0x12, 1, "h".charCodeAt(0)], found[0]);
  free.set([0x0a, 3, 0x12, 1, "w".charCodeAt(0)], found[1]);
  return free;
}

/**
 * Returns the input of YuNet: blue, green and red planes. Black pixels fill up the right and the
 * lower edge to multiples of 32.
 *
 * @param {import("./photo.js").Pixels} photo
 * @returns {{values: Float32Array, width: number, height: number}}
 */
export function yunetInput(photo) {
  const width = Math.ceil(photo.width / PAD_TO) * PAD_TO;
  const height = Math.ceil(photo.height / PAD_TO) * PAD_TO;
  const values = new Float32Array(3 * width * height);
  for (let y = 0; y < photo.height; y++) {
    for (let x = 0; x < photo.width; x++) {
      const from = (y * photo.width + x) * 4;
      for (let c = 0; c < 3; c++) {
        values[(c * height + y) * width + x] = photo.data[from + 2 - c];
      }
    }
  }
  return { values, width, height };
}

/**
 * Returns the faces in YuNet's outputs without duplicates, with the highest score first.
 *
 * @param {Object<string, Float32Array>} outputs cls_8 … kps_32
 * @param {number} width of the network's input
 * @param {number} scoreThreshold
 * @param {number} overlapThreshold boxes that overlap more (intersection over union) are one face
 * @returns {Face[]}
 */
export function facesIn(outputs, width, scoreThreshold, overlapThreshold) {
  const faces = [];
  for (const stride of STRIDES) {
    const [face, object, box, points] = ["cls", "obj", "bbox", "kps"].map(
      (name) => outputs[`${name}_${stride}`],
    );
    const columns = width / stride;
    for (let i = 0; i < face.length; i++) {
      const score = Math.sqrt(unit(face[i]) * unit(object[i]));
      if (!(score >= scoreThreshold)) continue;
      const column = i % columns;
      const row = Math.floor(i / columns);
      const [w, h] = [box[i * 4 + 2], box[i * 4 + 3]].map((value) => Math.exp(value) * stride);
      const x = (column + box[i * 4]) * stride - w / 2;
      const y = (row + box[i * 4 + 1]) * stride - h / 2;
      const landmarks = Array.from({ length: 5 }, (_, n) => [
        (points[i * 10 + 2 * n] + column) * stride,
        (points[i * 10 + 2 * n + 1] + row) * stride,
      ]);
      faces.push({ box: [x, y, w, h], landmarks, score });
    }
  }
  // Sort equal scores by place, so that the order does not depend on the order of the outputs.
  faces.sort((a, b) => b.score - a.score || a.box[0] - b.box[0] || a.box[1] - b.box[1]);
  return faces.reduce((kept, face) => {
    const known = kept.some((other) => overlap(other.box, face.box) > overlapThreshold);
    return known ? kept : [...kept, face];
  }, []);
}

function unit(value) {
  return Math.min(Math.max(value, 0), 1);
}

/** Returns the intersection over union of two boxes in whole pixels, as OpenCV does. */
function overlap(a, b) {
  const [ax, ay, aw, ah] = a.map(Math.trunc);
  const [bx, by, bw, bh] = b.map(Math.trunc);
  const width = Math.max(0, Math.min(ax + aw, bx + bw) - Math.max(ax, bx));
  const height = Math.max(0, Math.min(ay + ah, by + bh) - Math.max(ay, by));
  const shared = width * height;
  return shared === 0 ? 0 : shared / (aw * ah + bw * bh - shared);
}
