// Reads a file's own sample rate: browsers resample without telling it.

const LOOKED_AT = 1 << 16; // bytes at the beginning of the file
const MP3_RATES = { 3: [44100, 48000, 32000], 2: [22050, 24000, 16000], 0: [11025, 12000, 8000] }; // keys: MPEG versions

// Resolves to Hz, or to null for an unknown format.
export async function rateOf(file) {
  let bytes = await look(file, 0);
  const word = (at, n) => String.fromCharCode(...bytes.subarray(at, at + n));
  if (word(0, 3) === "ID3") {
    const size = [6, 7, 8, 9].reduce((sum, at) => sum * 128 + bytes[at], 0);
    bytes = await look(file, 10 + size);
  }
  const view = new DataView(bytes.buffer);
  try {
    if (word(0, 4) === "RIFF" || word(0, 4) === "RF64") return wav(view, word);
    if (word(0, 4) === "fLaC") return view.getUint32(18) >>> 12;
    if (word(0, 4) === "OggS") return ogg(view, word);
  } catch (error) {
    if (error instanceof RangeError) return null; // The file is cut.
    throw error;
  }
  return mp3(bytes);
}

async function look(file, from) {
  return new Uint8Array(await file.slice(from, from + LOOKED_AT).arrayBuffer());
}

function wav(view, word) {
  for (let at = 12; ; at += 8 + view.getUint32(at + 4, true) + (view.getUint32(at + 4, true) % 2)) {
    if (word(at, 4) === "fmt ") return view.getUint32(at + 12, true);
  }
}

function ogg(view, word) {
  const at = 27 + view.getUint8(26); // the first packet lies behind the page's table of segments
  if (word(at, 8) === "OpusHead") return 48000; // Opus always decodes to 48 kHz.
  return word(at + 1, 6) === "vorbis" ? view.getUint32(at + 12, true) : null;
}

// Finds the first header of a layer III frame without reserved values. An M4A or WebM may hold such bytes by chance; the
// browser then resamples to that rate first, which does little harm.
function mp3(bytes) {
  for (let at = 0; at + 4 <= bytes.length; at++) {
    const [sync, kind, rates] = [bytes[at], bytes[at + 1], bytes[at + 2]];
    const [version, layer] = [(kind >> 3) & 3, (kind >> 1) & 3];
    if (sync === 0xff && kind >> 5 === 7 && version !== 1 && layer === 1 && rates >> 4 !== 15 && ((rates >> 2) & 3) !== 3) {
      return MP3_RATES[version][(rates >> 2) & 3];
    }
  }
  return null;
}
