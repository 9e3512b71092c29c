/** Face detection on the device: YuNet on ONNX Runtime Web (WebAssembly). */

import * as ort from "onnxruntime-web";
import { alignFace, faceTemplate } from "./align.js";
import { fetchBytes } from "./files.js";
import { resize } from "./photo.js";
import { facesIn, withFreeSize, yunetInput } from "./yunet.js";

const SCORE = 0.6;
const OVERLAP = 0.3;
// YuNet reliably finds faces of about 20 to 600 pixels. It finds none in photos under 96 pixels.
const MOST = 640;
const LEAST = 96;
// A smaller photo shows a face cut out closely, whose landmarks are better when it is enlarged.
const SMALL_PHOTO = 200;
// YuNet draws the landmarks of a tilted face too upright. So a face that seems tilted by more than
// TILTED degrees is turned back by GAIN times what it seems, and searched again, up to TURNS times,
// until it seems tilted by less than LEVEL. The numbers are those of gfkeras.
const [TILTED, LEVEL, GAIN, TURNS] = [4, 2, 2, 5];
// Side of the part that is turned, and of the face in it, in pixels. The score may fall by LOSS.
const [PART, FACE, LOSS] = [224, 100, 0.1];
const MOST_LEVELLED = 64;

/**
 * Finds the faces in a photo, with the same network as `FaceDetector` of gfkeras at its first scale.
 * It levels tilted faces. It does not search finer scales or turned photos, nor small faces again
 * after enlarging them.
 */
export class FaceDetector {
  #session;

  constructor(session) {
    this.#session = session;
  }

  /**
   * @param {string} url of face_detection_yunet_2023mar.onnx
   * @throws {Error} if it is missing or another file.
   */
  static async load(url) {
    const bytes = await fetchBytes(
      url,
      "It is the face detector. README.md says where to get it.",
    );
    ort.env.wasm.wasmPaths = new URL("../node_modules/onnxruntime-web/dist/", import.meta.url).href;
    ort.env.logLevel = "error";
    try {
      const session = await ort.InferenceSession.create(withFreeSize(bytes), {
        executionProviders: ["wasm"],
        // The file states output sizes for 640×640. ONNX Runtime would warn for each other size.
        logSeverityLevel: 3,
      });
      const detector = new FaceDetector(session);
      // Run once now: the first run also compiles the network and would distort the latency.
      await detector.detect({ width: LEAST, height: LEAST, data: new Uint8ClampedArray(4 * LEAST ** 2) });
      return detector;
    } catch (error) {
      throw new Error(`${url} cannot be read as a face detector: ${error.message}`);
    }
  }

  /**
   * @param {import("./photo.js").Pixels} photo
   * @returns {Promise<import("./yunet.js").Face[]>} the faces, with the highest score first
   */
  async detect(photo) {
    const longest = Math.max(photo.width, photo.height);
    const side = Math.min(Math.max(longest, SMALL_PHOTO), MOST);
    let found = await this.#search(photo, side / longest);
    // A face that fills the photo is too large for YuNet, so search at half the size.
    if (!found.length && side >= 2 * LEAST) found = await this.#search(photo, side / 2 / longest);
    for (const face of found.slice(0, MOST_LEVELLED)) face.landmarks = await this.#levelled(photo, face);
    return found;
  }

  /** Returns the landmarks of a face, found again with the face turned level if it tilts. */
  async #levelled(photo, { box, landmarks, score }) {
    let seems = tilt(landmarks);
    let least = Math.abs(seems);
    const side = Math.max(box[2], box[3]);
    if (least <= TILTED || !(side > 1)) return landmarks;
    const center = [box[0] + box[2] / 2, box[1] + box[3] / 2];
    const middle = (PART - 1) / 2;
    let turn = 0;
    let best = landmarks;
    for (let i = 0; i < TURNS && (i === 0 || least > LEVEL); i++) {
      turn += GAIN * seems;
      const [cos, sin] = [Math.cos, Math.sin].map((f) => (f((turn * Math.PI) / 180) * side) / FACE);
      const toPhoto = ([x, y]) => [
        cos * (x - middle) - sin * (y - middle) + center[0],
        sin * (x - middle) + cos * (y - middle) + center[1],
      ];
      // The part is an alignment whose landmarks are the template's, turned around the face.
      const part = alignFace(photo, faceTemplate(PART).map(toPhoto), PART);
      const again = (await this.#search(part, 1)).find((face) => {
        const away = [0, 1].map((axis) => Math.abs(face.box[axis] + face.box[axis + 2] / 2 - PART / 2));
        return Math.max(...away) < FACE / 3 && face.score >= score - LOSS;
      });
      if (!again) break;
      seems = tilt(again.landmarks);
      if (Math.abs(seems) < least) {
        least = Math.abs(seems);
        best = again.landmarks.map(toPhoto);
      }
    }
    return best;
  }

  async #search(photo, scale) {
    const width = scale === 1 ? photo.width : Math.max(1, evenRound(photo.width * scale));
    const height = scale === 1 ? photo.height : Math.max(1, evenRound(photo.height * scale));
    const scaled = scale === 1 ? photo : resize(photo, width, height);
    const input = yunetInput(scaled);
    const tensor = new ort.Tensor("float32", input.values, [1, 3, input.height, input.width]);
    const results = await this.#session.run({ input: tensor });
    const outputs = Object.fromEntries(
      Object.entries(results).map(([name, result]) => [name, result.data]),
    );
    const ratio = [photo.width / width, photo.height / height];
    // The center of a pixel has whole coordinates at every scale.
    const back = (point) => point.map((value, axis) => value * ratio[axis] + (ratio[axis] - 1) / 2);
    return facesIn(outputs, input.width, SCORE, OVERLAP).map(({ box, landmarks, score }) => ({
      box: [...back(box.slice(0, 2)), box[2] * ratio[0], box[3] * ratio[1]],
      landmarks: landmarks.map(back),
      score,
    }));
  }
}

/** Returns the tilt of a face in degrees, clockwise, by its eyes and its mouth. */
function tilt([leftEye, rightEye, , leftMouth, rightMouth]) {
  const [x, y] = [[leftEye, rightEye], [leftMouth, rightMouth]].reduce(
    (sum, [from, to]) => {
      const length = Math.max(Math.hypot(to[0] - from[0], to[1] - from[1]), 1e-6);
      return sum.map((value, axis) => value + (to[axis] - from[axis]) / length);
    },
    [0, 0],
  );
  return (Math.atan2(y, x) * 180) / Math.PI;
}

/** Returns the face with the largest box. For equal boxes, the one with the higher score. */
export function largestFace(faces) {
  const area = ({ box }) => box[2] * box[3];
  return faces.reduce((best, face) => (area(face) > area(best) ? face : best), faces[0]);
}

/** Rounds halves to the even neighbour, as Python does. */
function evenRound(value) {
  const low = Math.floor(value);
  return value - low === 0.5 ? low + (low % 2) : Math.round(value);
}
