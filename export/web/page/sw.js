// Keeps every file of the site in one version. `cumel web` writes VERSION and FILES (name to SHA-256) before this line.
const { scope } = self.registration;
const OURS = `cumel ${scope} `; // beginning of the names of this site's caches; other sites may share the origin
const NAME = OURS + VERSION;

async function digest(bytes) {
  const hashed = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...hashed].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function fill() {
  const cache = await caches.open(NAME);
  try {
    for (const [name, expected] of Object.entries(FILES)) {
      const response = await fetch(new URL(name, scope), { cache: "no-cache" });
      if (!response.ok || (await digest(await response.clone().arrayBuffer())) !== expected) {
        throw new Error(`${name}: not the file that cumel web wrote with this sw.js`);
      }
      await cache.put(new URL(name, scope), response);
    }
  } catch (error) {
    await caches.delete(NAME);
    throw error;
  }
}

async function takeOver() {
  const former = (await caches.keys()).filter((name) => name.startsWith(OURS) && name !== NAME);
  await Promise.all(former.map((name) => caches.delete(name)));
  await self.clients.claim();
}

async function kept(request, name) {
  const cache = await caches.open(NAME);
  return (await cache.match(new URL(name, scope))) ?? fetch(request); // A browser short of space may drop a cache.
}

self.oninstall = (event) => event.waitUntil(fill());
self.onactivate = (event) => event.waitUntil(takeOver());
self.onmessage = ({ data }) => data === "take over" && self.skipWaiting();
self.onfetch = (event) => {
  const [address] = event.request.url.split(/[?#]/);
  const name = address.slice(scope.length) || "index.html";
  if (event.request.method !== "GET" || !address.startsWith(scope) || !Object.hasOwn(FILES, name)) return;
  event.respondWith(kept(event.request, name));
};
