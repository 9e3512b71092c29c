/** Chart of the group probabilities of two faces. */

const SVG = "http://www.w3.org/2000/svg";
const [HALF, LABELS] = [72, 18];
const HEIGHT = 2 * HALF + 2 * LABELS;

/**
 * Draws bars upwards for one face and downwards for the other, with the number of the most probable
 * group.
 *
 * @param {number[]} first probabilities of K groups
 * @param {number[]} second probabilities of K groups
 * @param {number} width of the chart in pixels
 * @returns {SVGSVGElement} a chart with the result as its accessible name
 */
export function groupChart(first, second, width) {
  const svg = element("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img" });
  svg.setAttribute("aria-label", groupText(first, second));
  const middle = LABELS + HALF;
  const step = width / first.length;
  const gap = Math.min(6, step * 0.25);
  [
    ["a", first, -1],
    ["b", second, 1],
  ].forEach(([name, values, way]) => {
    const chosen = largest(values);
    values.forEach((value, group) => {
      const bar = (height, className) => {
        const y = way < 0 ? middle - height : middle;
        const place = { x: group * step + gap / 2, y, width: step - gap, height };
        svg.append(element("rect", { ...place, class: className }));
      };
      bar(HALF, "slot");
      bar(value * HALF, name);
    });
    // Keep a number near an edge inside the chart.
    const x = Math.min(Math.max((chosen + 0.5) * step, 12), width - 12);
    const y = way < 0 ? LABELS - 5 : HEIGHT - 5;
    const label = element("text", { x, y, "text-anchor": "middle", class: "chosen" });
    label.textContent = String(chosen);
    svg.append(label);
  });
  svg.append(element("line", { x1: 0, x2: width, y1: middle, y2: middle, class: "axis" }));
  return svg;
}

/** Returns the most probable groups as text. */
export function groupText(first, second) {
  const [a, b] = [largest(first), largest(second)];
  const share = (values, group) => `${Math.round(values[group] * 100)} %`;
  const [inA, inB] = [share(first, a), share(second, b)];
  return a === b
    ? `Both faces are in group ${a} of ${first.length} (A ${inA}, B ${inB}).`
    : `A is in group ${a} (${inA}), B is in group ${b} (${inB}) of ${first.length}.`;
}

function largest(values) {
  return values.indexOf(Math.max(...values));
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
