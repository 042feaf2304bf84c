// Runs in the audio thread: passes on the microphone's samples, as the mean of its channels.
registerProcessor(
  "tap",
  class extends AudioWorkletProcessor {
    process([channels]) {
      if (channels.length) this.port.postMessage(channels[0].map((_, i) => channels.reduce((sum, c) => sum + c[i], 0) / channels.length));
      return true;
    }
  },
);
