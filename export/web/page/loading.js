// Loads the model from the site's files, reports what went wrong, and tries again on request.
import { Classifier } from "./classifier.js";
import { fetched } from "./fetched.js";

const remedies = {
  missing: "Write the site again with cumel web, then try again.",
  unreachable: "Check the connection, then try again.",
  other: "Try again; if it stays so, write the site again with cumel web.",
};

// Resolves to {about, classifier}: the contents of model.json, and the model, ready to run.
async function load() {
  const about = await (await fetched("model.json")).json();
  const classifier = new Classifier();
  try {
    await classifier.ready;
  } catch (error) {
    classifier.end();
    throw error;
  }
  return { about, classifier };
}

// Calls `load` until it succeeds, and resolves to its result: after a failure the button, or a restored connection,
// starts it again. `say` is called with a line, and whether it is a failure.
export async function loadPatiently(say, button) {
  for (;;) {
    say("Loading the model …", false);
    try {
      const loaded = await load();
      say("", false);
      return loaded;
    } catch (error) {
      say(`The model cannot be loaded (${error.message}). ${remedies[error.kind] ?? remedies.other}`, true);
    }
    button.hidden = false;
    await new Promise((resolve) => {
      button.onclick = resolve;
      addEventListener("online", resolve, { once: true });
    });
    button.hidden = true;
  }
}
