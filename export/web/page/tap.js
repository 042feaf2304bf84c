// In the audio thread: passes on what the microphone hears, as the mean of its channels.
registerProcessor(
  "tap",
  class extends AudioWorkletProcessor {
    process([channels]) {
      if (channels.length) this.port.postMessage(channels[0].map((_, i) => channels.reduce((sum, c) => sum + c[i], 0) / channels.length));
      return true;
    }
  },
);
