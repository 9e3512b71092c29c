/** Loading of files, with errors that name the missing file. */

/**
 * @param {string} url
 * @param {string} hint advice for a missing file
 * @returns {Promise<Uint8Array>}
 */
export async function fetchBytes(url, hint) {
  const response = await get(url, hint);
  return new Uint8Array(await response.arrayBuffer());
}

/**
 * @param {string} url
 * @param {string} hint advice for a missing file
 * @returns {Promise<any>}
 */
export async function fetchJson(url, hint) {
  const response = await get(url, hint);
  try {
    return await response.json();
  } catch {
    throw new Error(`${url} is not valid JSON. ${hint}`);
  }
}

/** Returns the content of a JSON file, or null if it does not exist. A file with null gives {}. */
export async function fetchJsonIfThere(url) {
  const response = await fetch(url);
  return response.ok ? ((await response.json()) ?? {}) : null;
}

async function get(url, hint) {
  let response;
  try {
    response = await fetch(url);
  } catch {
    throw new Error(`${url} cannot be loaded: the server does not answer.`);
  }
  if (!response.ok) throw new Error(`${url} is missing. ${hint}`);
  return response;
}
