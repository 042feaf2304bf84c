// Fetches a file of the site. An error's `kind` tells what can be done: "missing", "unreachable" or "other".
const GONE = [403, 404, 410];

export async function fetched(name) {
  const fail = (reason, kind) => {
    throw Object.assign(new Error(`${name}: ${reason}`), { kind });
  };
  const address = new URL(name, import.meta.url);
  const response = await fetch(address, { cache: "no-cache" }).catch((error) => fail(error.message, "unreachable"));
  if (!response.ok) fail(`${response.status} ${response.statusText}`, GONE.includes(response.status) ? "missing" : "other");
  return response;
}
