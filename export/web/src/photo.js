/** Photos as pixels: decoding, pieces, and scaling as OpenCV does it. */

// What all browsers have room for in a canvas; a larger photo is scaled down on reading.
const MOST_PIXELS = 16_000_000;

/**
 * Pixels of a photo, RGBA as a canvas has them; the alpha is not looked at.
 * @typedef {{width: number, height: number, data: Uint8ClampedArray}} Pixels
 */

/**
 * A photo file as pixels: upright as its EXIF says, without colour management, on black where it
 * is transparent, which is how gfkeras reads photos in Python.
 *
 * @param {Blob} file
 * @returns {Promise<Pixels>}
 * @throws {Error} for a file that the browser cannot decode.
 */
export async function readPhoto(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
    });
  } catch {
    throw new Error(`${file.name ?? "The file"} is no photo that this browser can read.`);
  }
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (bitmap.width * bitmap.height)));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#000";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

/**
 * A photo at another size: every pixel the mean of what it covers where it shrinks (OpenCV's
 * INTER_AREA), bilinear where it grows.
 *
 * @param {Pixels} photo
 * @param {number} width
 * @param {number} height
 * @returns {Pixels}
 */
export function resize(photo, width, height) {
  const weigh = width < photo.width ? covered : between;
  const columns = weigh(photo.width, width);
  const rows = weigh(photo.height, height);
  const data = new Uint8ClampedArray(width * height * 4);
  // Row by row: one line, narrowed, serves all rows that it has a share in.
  const lines = new Map();
  for (let y = 0; y < height; y++) {
    const sum = new Float32Array(width * 4);
    for (const [source, weight] of rows[y]) {
      if (!lines.has(source)) lines.set(source, narrowed(photo, source, columns));
      const line = lines.get(source);
      for (let i = 0; i < sum.length; i++) sum[i] += weight * line[i];
    }
    for (const source of lines.keys()) if (source < rows[y][0][0]) lines.delete(source);
    data.set(sum, y * width * 4);
  }
  return { width, height, data };
}

/**
 * A part of a photo, and where it reaches over the photo's right or lower edge, that edge again.
 *
 * @param {Pixels} photo
 * @param {number} left
 * @param {number} top
 * @param {number} width
 * @param {number} height
 * @returns {Pixels}
 */
export function cut(photo, left, top, width, height) {
  const data = new Uint8ClampedArray(width * height * 4);
  for (let y = 0; y < height; y++) {
    const row = Math.min(top + y, photo.height - 1) * photo.width;
    for (let x = 0; x < width; x++) {
      const from = (row + Math.min(left + x, photo.width - 1)) * 4;
      data.set(photo.data.subarray(from, from + 4), (y * width + x) * 4);
    }
  }
  return { width, height, data };
}

/** One line of a photo at another width, as floats. */
function narrowed(photo, y, columns) {
  const line = new Float32Array(columns.length * 4);
  const start = y * photo.width * 4;
  columns.forEach((shares, x) => {
    for (const [source, weight] of shares) {
      for (let c = 0; c < 3; c++) {
        line[x * 4 + c] += weight * photo.data[start + source * 4 + c];
      }
    }
    line[x * 4 + 3] = 255;
  });
  return line;
}

/** For each of `to` pixels the [source pixel, share] that it covers of `from` ones. */
function covered(from, to) {
  const ratio = from / to;
  return Array.from({ length: to }, (_, i) => {
    const start = i * ratio;
    const end = Math.min((i + 1) * ratio, from);
    const shares = [];
    for (let source = Math.floor(start); source < end - 1e-9; source++) {
      const share = Math.min(source + 1, end) - Math.max(source, start);
      if (share > 1e-9) shares.push([source, share / (end - start)]);
    }
    return shares;
  });
}

/** For each of `to` pixels the two of `from` ones between which it lies. */
function between(from, to) {
  return Array.from({ length: to }, (_, i) => {
    const at = Math.min(Math.max(((i + 0.5) * from) / to - 0.5, 0), from - 1);
    const low = Math.floor(at);
    const high = Math.min(low + 1, from - 1);
    return [[low, low + 1 - at], [high, at - low]];
  });
}
