/** Files beside the page, with errors that say which one is missing. */

/**
 * @param {string} url
 * @param {string} hint what to do where it is missing
 * @returns {Promise<Uint8Array>}
 */
export async function fetchBytes(url, hint) {
  const response = await get(url, hint);
  return new Uint8Array(await response.arrayBuffer());
}

/**
 * @param {string} url
 * @param {string} hint what to do where it is missing
 * @returns {Promise<any>}
 */
export async function fetchJson(url, hint) {
  const response = await get(url, hint);
  try {
    return await response.json();
  } catch {
    throw new Error(`${url} is no JSON. ${hint}`);
  }
}

/** The same, or null where there is no such file. One that holds null is not what it should be. */
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
