/** The result on the page: similarity, decision, groups and latency. */

import { farInterval } from "./card.js";
import { groupChart, groupText } from "./group_chart.js";
import { cosine, similarityOf, softmax } from "./similarity.js";

const byId = (id) => document.getElementById(id);

/** Shows a text instead of a result, such as which photo is missing. */
export function showWaiting(text) {
  showVerdict(text, "waiting");
  byId("explanation").textContent = "";
  for (const id of ["scale", "groups", "latency"]) byId(id).hidden = true;
}

/** Shows the FARs of thresholds, and calls `onChange` when the user chooses another one. */
export function offerFars(thresholds, onChange) {
  const select = byId("far");
  for (const { far } of thresholds.points) {
    const usual = far === thresholds.usual;
    select.append(new Option(`1 in ${count(far)}`, String(far), usual, usual));
  }
  select.addEventListener("change", onChange);
  byId("origin").textContent = thresholds.origin && `Measured on: ${thresholds.origin}`;
  byId("far-field").hidden = false;
}

/**
 * @param {object[]} faces two: {embedding: Embedding, latency: {name: milliseconds}}
 * @param {?object} thresholds result of `readThresholds`
 */
export function showResult(faces, thresholds) {
  const [a, b] = faces.map(({ embedding }) => embedding);
  let explanation = "";
  if (thresholds) {
    const far = Number(byId("far").value);
    const { threshold } = thresholds.points.find((point) => point.far === far);
    const similarity = similarityOf(a, b, thresholds.similarity);
    const same = similarity >= threshold;
    showVerdict(same ? "Same person" : "Different people", same ? "same" : "other");
    // Only the score that decides is shown: the threshold does not apply to another score.
    const kind = thresholds.similarity.beta ? "Group-aware similarity" : "Cosine";
    const [low, high] = farInterval(far, thresholds.impostor).map((rate) => rate.toExponential(1));
    explanation += `${kind} ${similarity.toFixed(3)}. `;
    explanation += `Threshold ${threshold.toFixed(3)} for 1 false accept in ${count(far)}, `;
    explanation += `measured on ${thresholds.impostor.toLocaleString("en")} impostor pairs `;
    explanation += `(95 %: ${low} to ${high}).`;
    showScale(similarity, threshold, same ? "same" : "other");
  } else {
    const alike = cosine(a.embedding, b.embedding);
    showVerdict(`Similarity ${alike.toFixed(3)}`, "");
    explanation += `Cosine ${alike.toFixed(3)}. No decision: the model has no thresholds.`;
    showScale(alike, null, "");
  }
  byId("explanation").textContent = explanation;
  showGroups(a, b);
  showLatency(faces.map(({ latency }) => latency));
}

function showVerdict(text, kind) {
  byId("verdict").textContent = text;
  byId("verdict").className = `verdict ${kind}`;
}

function showScale(similarity, threshold, kind) {
  const percent = (value) => `${Math.min(Math.max(value, 0), 1) * 100}%`;
  byId("bar").style.width = percent(similarity);
  byId("bar").className = `bar ${kind}`;
  for (const id of ["tick", "tick-label"]) {
    byId(id).hidden = threshold === null;
    byId(id).style.left = percent(threshold ?? 0);
  }
  byId("tick-label").textContent = threshold === null ? "" : threshold.toFixed(3);
  byId("scale").hidden = false;
}

function showGroups(a, b) {
  byId("groups").hidden = !a.groupLogits;
  if (!a.groupLogits) return;
  const probabilities = [softmax(a.groupLogits), softmax(b.groupLogits)];
  byId("group-text").textContent = groupText(...probabilities);
  const chart = byId("group-chart");
  chart.replaceChildren(groupChart(...probabilities, chart.clientWidth));
}

function showLatency(latencies) {
  const totals = latencies.map((parts) => Object.values(parts).reduce((sum, ms) => sum + ms, 0));
  const complete = latencies.map((parts, i) => ({ ...parts, Total: totals[i] }));
  const rows = Object.keys(complete[0]).map((name) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    const cells = complete.map((latency) => {
      const cell = document.createElement("td");
      cell.textContent = latency[name].toFixed(1);
      return cell;
    });
    row.append(head, ...cells);
    return row;
  });
  byId("latency-rows").replaceChildren(...rows);
  byId("latency").hidden = false;
}

/** Returns the number of impostors of which a FAR accepts one, as text. */
function count(far) {
  return Math.round(1 / far).toLocaleString("en");
}
