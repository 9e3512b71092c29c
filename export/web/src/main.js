/** The page: loads detector and model, takes two photos and compares their faces. */

import { alignFace } from "./align.js";
import { chooseThresholds } from "./card.js";
import { FaceDetector, largestFace } from "./detector.js";
import { Embedder } from "./embedder.js";
import { fetchJsonIfThere } from "./files.js";
import { PhotoPanel } from "./photo_panel.js";
import { readPhoto } from "./photo.js";
import { offerFars, showResult, showWaiting } from "./result_panel.js";

const asked = new URLSearchParams(location.search);
const MODEL = asked.get("model") ?? "models/model.tflite";
const DETECTOR = "models/face_detection_yunet_2023mar.onnx";

const faces = { A: null, B: null };
// If the user chooses a new photo before the last one is ready, only the new one counts.
const latest = { A: 0, B: 0 };
let thresholds = null;
// An error of the thresholds stays on the page when photos change.
let standing = null;

const panels = [...document.querySelectorAll(".photo")].map((section) => {
  const panel = new PhotoPanel(section, (file) => take(panel, file));
  return panel;
});
// Without this, a photo that is dropped elsewhere on the page would replace the page.
for (const kind of ["dragover", "drop"]) {
  addEventListener(kind, (event) => event.preventDefault());
}

const loaded = load();
// `load` has shown the error. Each photo shows it again.
loaded.catch(() => {});

/** Loads detector and model. An error is shown on the page. */
async function load() {
  try {
    const [detector, embedder] = await Promise.all([FaceDetector.load(DETECTOR), Embedder.load(MODEL)]);
    const { card } = embedder;
    try {
      thresholds = chooseThresholds(await fetchJsonIfThere(`${MODEL}.thresholds.json`), card);
      if (thresholds) offerFars(thresholds, update);
    } catch (error) {
      standing = error;
      complain(error);
    }
    const groups = card.outputs.includes("group_logits") ? `, ${card.mode ?? ""} groups` : "";
    document.getElementById("model").textContent =
      `${MODEL}: ${card.precision}${groups}, ${(embedder.bytes / 2 ** 20).toFixed(1)} MiB, run by ` +
      "LiteRT.js. YuNet on ONNX Runtime Web finds the faces.";
    update();
    return { detector, embedder };
  } catch (error) {
    complain(error);
    showWaiting("No comparison is possible.");
    throw error;
  }
}

/** Finds, aligns and embeds the face in a new photo. */
async function take(panel, file) {
  const turn = ++latest[panel.name];
  const overtaken = () => turn !== latest[panel.name];
  faces[panel.name] = null;
  panel.clear();
  panel.say("Looking for a face…");
  try {
    const photo = await readPhoto(file);
    if (overtaken()) return;
    panel.showPhoto(photo);
    const { detector, embedder } = await loaded;
    if (standing) complain(standing);
    else document.getElementById("problem").hidden = true;
    const found = await timed(() => detector.detect(photo));
    if (overtaken()) return;
    if (!found.value.length) throw new Error(`No face found in photo ${panel.name}.`);
    const face = largestFace(found.value);
    const aligned = await timed(() => alignFace(photo, face.landmarks, embedder.card.size));
    const embedded = await timed(() => embedder.embed(aligned.value));
    if (overtaken()) return;
    panel.showPhoto(photo, found.value, face);
    panel.showFace(aligned.value);
    const others = found.value.length;
    panel.say(others === 1 ? "1 face" : `${others} faces. The largest one is compared.`);
    faces[panel.name] = {
      embedding: embedded.value,
      latency: { Detection: found.ms, Alignment: aligned.ms, Embedding: embedded.ms },
    };
    update();
  } catch (error) {
    if (overtaken()) return;
    panel.say(error.message);
    complain(error);
    update();
  }
}

/** Shows the result, or which photo is missing. */
function update() {
  const missing = panels.map(({ name }) => name).filter((name) => !faces[name]);
  if (missing.length) {
    showWaiting(missing.length === 2 ? "Choose two photos." : `Choose photo ${missing[0]}.`);
    return;
  }
  try {
    showResult([faces.A, faces.B], thresholds);
  } catch (error) {
    showWaiting("These faces cannot be compared.");
    complain(error);
  }
}

function complain(error) {
  const problem = document.getElementById("problem");
  problem.textContent = error.message;
  problem.hidden = false;
}

async function timed(work) {
  const start = performance.now();
  const value = await work();
  return { value, ms: performance.now() - start };
}
