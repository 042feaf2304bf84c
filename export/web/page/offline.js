// Keeps the site in the browser, by sw.js: it then opens without a network, and all of its files are of one writing.

// `busy` tells whether a recording is on show, which a reload would lose; `offer` shows that a newer site is there, and
// is given what to do when that is accepted. Without https (or localhost) browsers keep no sites: nothing happens.
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
