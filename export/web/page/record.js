// Records the microphone at its own rate, for the length of the model's clips.
import { wav } from "./decode.js";

const REFUSALS = {
  NotAllowedError: "The microphone was refused. Allow it in the browser's settings for this page.",
  NotFoundError: "There is no microphone.",
  NotReadableError: "The microphone is in use by another program.",
};

export class Recorder {
  #stop = () => {};

  // Resolves to a WAV file of at most `seconds`; `heard` is called after every block with the seconds so far.
  async record(seconds, heard) {
    if (!navigator.mediaDevices) throw new Error("The microphone needs https, or a page served from localhost.");
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio }).catch((error) => {
      throw new Error(REFUSALS[error.name] ?? `The microphone does not work (${error.message}).`);
    });
    const context = new AudioContext();
    try {
      await context.audioWorklet.addModule(new URL("tap.js", import.meta.url).href);
      const blocks = await this.#listen(context, stream, seconds, heard);
      const y = new Float32Array(blocks.reduce((n, block) => n + block.length, 0));
      blocks.reduce((at, block) => (y.set(block, at), at + block.length), 0);
      return wav(y.subarray(0, Math.round(seconds * context.sampleRate)), context.sampleRate, "Recording");
    } finally {
      stream.getTracks().forEach((track) => track.stop());
      await context.close();
    }
  }

  #listen(context, stream, seconds, heard) {
    const blocks = [];
    let n = 0;
    const tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0 });
    return new Promise((resolve) => {
      this.#stop = () => resolve(blocks);
      stream.getAudioTracks()[0].onended = this.#stop; // The microphone was unplugged.
      tap.port.onmessage = ({ data }) => {
        blocks.push(data);
        n += data.length;
        heard(n / context.sampleRate);
        if (n >= seconds * context.sampleRate) this.#stop();
      };
      context.createMediaStreamSource(stream).connect(tap);
    });
  }

  // Ends the recording early, and keeps what was recorded.
  stop() {
    this.#stop();
  }
}
