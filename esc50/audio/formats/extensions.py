"""The file extensions of recordings, for the formats that the installed libsndfile reads."""

from __future__ import annotations

import soundfile

from . import ffmpeg

OF_FORMATS = {
    "WAV": (".wav", ".wave", ".bwf"),
    "FLAC": (".flac",),
    "OGG": (".ogg", ".oga", ".opus"),
    "MP3": (".mp3", ".mp2", ".mpga"),
    "AIFF": (".aif", ".aiff", ".aifc"),
    "RF64": (".rf64", ".bw64"),
    "W64": (".w64",),
    "CAF": (".caf",),
    "AU": (".au", ".snd"),
    "NIST": (".nist", ".sph"),
    "IRCAM": (".sf", ".ircam"),
    "VOC": (".voc",),
    "SVX": (".8svx", ".16sv", ".iff", ".svx"),
    "AVR": (".avr",),
    "PAF": (".paf",),
    "PVF": (".pvf",),
}
SOUND_FILES = tuple(
    extension
    for name, extensions in OF_FORMATS.items()
    if name in soundfile.available_formats()
    for extension in extensions
)
BY_FFMPEG = ffmpeg.EXTENSIONS  # read where ffmpeg is installed
EXTENSIONS = SOUND_FILES + (BY_FFMPEG if ffmpeg.installed() else ())
