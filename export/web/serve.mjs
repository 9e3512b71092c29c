/**
 * Server of the kit: npm run serve -- --model face.tflite [--detector FILE] [--port 8000] [--host 127.0.0.1]
 *
 * The model, its card and its thresholds are served as models/model.tflite…, and the detector under
 * its own name in models/. The server answers only GET and HEAD requests.
 */

import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const ROOT = fileURLToPath(new URL(".", import.meta.url));
const DETECTOR = "face_detection_yunet_2023mar.onnx";
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

let options;
try {
  options = parseArgs({
    options: {
      model: { type: "string" },
      detector: { type: "string" },
      port: { type: "string", default: "8000" },
      host: { type: "string", default: "127.0.0.1" },
    },
  }).values;
} catch (error) {
  console.error(error.message);
  process.exit(2);
}

const elsewhere = new Map();
if (options.model) {
  for (const suffix of ["", ".json", ".thresholds.json"]) {
    elsewhere.set(`/models/model.tflite${suffix}`, resolve(options.model + suffix));
  }
}
if (options.detector) elsewhere.set(`/models/${DETECTOR}`, resolve(options.detector));
for (const path of [options.model, options.detector].filter(Boolean)) {
  if (!(await isFile(path))) {
    console.error(`${path} is not a file`);
    process.exit(2);
  }
}

// Send the policy of the page as a header too: it then applies to workers, and no other page can
// show this one in a frame.
const page = await readFile(join(ROOT, "index.html"), "utf8");
const policy = /<meta http-equiv="Content-Security-Policy" content="([^"]+)">/.exec(page)?.[1];
if (!policy) {
  console.error("index.html has no Content-Security-Policy");
  process.exit(2);
}

const server = createServer(async (request, response) => {
  const head = {
    // Browsers allow threads only for a page that is isolated from other pages.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": `${policy}; frame-ancestors 'none'`,
    "Referrer-Policy": "no-referrer",
  };
  if (!["GET", "HEAD"].includes(request.method)) {
    response.writeHead(405, { ...head, Allow: "GET, HEAD" }).end();
    return;
  }
  const path = served(request.url);
  if (!path || !(await isFile(path))) {
    response.writeHead(404, { ...head, "Content-Type": "text/plain" }).end("not found\n");
    return;
  }
  const type = TYPES[extname(path)] ?? "application/octet-stream";
  response.writeHead(200, { ...head, "Content-Type": type, "Content-Length": (await stat(path)).size });
  if (request.method === "HEAD") response.end();
  else createReadStream(path).on("error", () => response.destroy()).pipe(response);
});
server.on("error", (error) => {
  console.error(`cannot listen on ${options.host}:${options.port}: ${error.code ?? error.message}`);
  process.exit(2);
});
server.listen(Number(options.port), options.host, () => {
  console.log(`http://${options.host}:${server.address().port}/`);
});

/** Returns the file of an address, or null for an address outside the kit. */
function served(address) {
  let path;
  try {
    path = decodeURIComponent(new URL(address, "http://kit").pathname);
  } catch {
    return null;
  }
  if (elsewhere.has(path)) return elsewhere.get(path);
  const file = normalize(join(ROOT, path.endsWith("/") ? `${path}index.html` : path));
  return file.startsWith(ROOT.endsWith(sep) ? ROOT : ROOT + sep) && !file.includes("\0") ? file : null;
}

async function isFile(path) {
  return stat(path).then((found) => found.isFile(), () => false);
}
