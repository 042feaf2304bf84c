// Plays the part of the recording that is classified.

export class Player {
  #playhead;
  #tell;
  #context = null;
  #source = null;

  // `playhead` moves over the waveform; `tell` is called with whether something plays.
  constructor(playhead, tell) {
    this.#playhead = playhead;
    this.#tell = tell;
  }

  toggle(y, sr, first, end) {
    if (this.#source) return this.stop();
    this.#context ??= new AudioContext();
    const part = y.subarray(first, end);
    const buffer = this.#context.createBuffer(1, part.length, sr);
    buffer.copyToChannel(part, 0);
    this.#source = new AudioBufferSourceNode(this.#context, { buffer });
    this.#source.onended = () => this.stop();
    this.#source.connect(this.#context.destination);
    this.#source.start();
    const started = this.#context.currentTime;
    const move = () => {
      if (!this.#source) return;
      const sample = first + Math.min((this.#context.currentTime - started) * sr, part.length);
      this.#playhead.style.left = `${(100 * sample) / y.length}%`;
      requestAnimationFrame(move);
    };
    this.#playhead.hidden = false;
    this.#tell(true);
    return move();
  }

  stop() {
    if (!this.#source) return;
    this.#source.onended = null;
    this.#source.stop();
    this.#source = null;
    this.#playhead.hidden = true;
    this.#tell(false);
  }
}
