// Keeps the site in the browser, by sw.js: it then opens without a network, and all of its files come from one version.

// `busy` tells whether a recording is on show, as a reload would lose it. `offer` tells the user of a newer site; its
// argument is the function to call when the user accepts. Without https (or localhost) browsers keep no sites.
export async function keep(busy, offer) {
  const workers = navigator.serviceWorker;
  if (!workers) return;
  let controlled = Boolean(workers.controller);
  workers.oncontrollerchange = () => {
    if (controlled && !busy()) location.reload();
    controlled = true;
  };
  const found = (worker) => {
    const accept = () => {
      busy = () => false;
      worker.postMessage("take over");
    };
    if (busy()) offer(accept);
    else accept();
  };
  const registration = await workers.register(new URL("sw.js", import.meta.url), { updateViaCache: "none" });
  const follow = (worker) => {
    worker?.addEventListener("statechange", () => worker.state === "installed" && workers.controller && found(worker));
  };
  if (registration.waiting && workers.controller) found(registration.waiting);
  follow(registration.installing);
  registration.onupdatefound = () => follow(registration.installing);
}
