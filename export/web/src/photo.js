/** Photos as pixels: decoding, cutting, and scaling as in OpenCV. */

// All browsers allow this many pixels in a canvas. A larger photo is scaled down on reading.
const MOST_PIXELS = 16_000_000;

/**
 * Pixels of a photo, RGBA as in a canvas. The alpha channel is ignored.
 * @typedef {{width: number, height: number, data: Uint8ClampedArray}} Pixels
 */

/**
 * Reads a photo file as gfkeras does in Python: rotated by its EXIF orientation, without colour
 * management, and with black behind transparent pixels.
 *
 * @param {Blob} file
 * @returns {Promise<Pixels>}
 * @throws {Error} if the browser cannot decode the file.
 */
export async function readPhoto(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
    });
  } catch {
    throw new Error(`${file.name ?? "The file"} is not a photo that this browser can read.`);
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
 * Returns a photo in another size. To shrink it, each pixel is the mean of the area that it covers
 * (INTER_AREA in OpenCV). To enlarge it, sampling is bilinear.
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
  // Lines of the photo are narrowed once and kept while rows of the result still need them.
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
 * Returns a part of a photo. Beyond the right or lower edge of the photo, the edge is repeated.
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

/** Returns one line of a photo in another width, as floats. */
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

/** Returns, for each of `to` pixels, the [source pixel, share] of the `from` pixels it covers. */
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

/** Returns, for each of `to` pixels, the two nearest of the `from` pixels with their weights. */
function between(from, to) {
  return Array.from({ length: to }, (_, i) => {
    const at = Math.min(Math.max(((i + 0.5) * from) / to - 0.5, 0), from - 1);
    const low = Math.floor(at);
    const high = Math.min(low + 1, from - 1);
    return [[low, low + 1 - at], [high, at - low]];
  });
}
