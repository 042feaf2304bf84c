"""Fifty synthetic sound classes. Every class is one or two layers of tone and noise events; see `SOUNDS`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Span = tuple[float, float]  # lowest and highest value; drawn log-uniformly
Notes = tuple[float, ...]

HIGHEST_HZ = 3800.0  # no fundamental goes higher; harmonics and noise just end below half the sample rate


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """Events of one kind. A clip draws one value from each span; its events keep near to it."""

    rate: Span | None = None  # events per second; None: a single event, as long as the clip
    jitter: float = 0.08  # 0: regular, 1: a Poisson process
    group: tuple[int, int] | None = None  # events in a group, both ends included
    rest: Span = (0.4, 1.0)  # s between groups
    speedup: float = 1.0  # ratio of each gap in a group to the one before
    fade: float = 1.0  # ratio of each level in a group to the one before
    dashes: bool = False  # Morse: events last one unit of 1/rate or three
    seconds: Span | None = None  # length of an event; None: until the next one
    shape: Literal["decay", "hold", "arch"] = "hold"
    accent: float = 0.15  # spread of the events' levels, in nepers
    level: float = 1.0  # peak of the layer
    # The tone.
    hz: Span | None = None  # None: no tone
    spread: float = 1.0  # largest factor between an event's pitch and the clip's
    chords: tuple[Notes, ...] = ((1.0,),)  # ratios to the pitch; an event sounds one chord
    in_turn: bool = False  # whether chords follow each other in order, not at random
    harmonics: int = 1  # harmonics of each note
    tilt: float = 1.0  # harmonic k has the amplitude k**-tilt
    formants: tuple[Notes, ...] = ()  # resonances in Hz; an event has one set
    glide: Span | None = None  # ratio of the pitch at the end to that at the start
    there_and_back: bool = False  # whether the glide turns round in the middle
    vibrato: Span | None = None  # Hz
    depth: float = 0.0  # depth of the vibrato, in octaves
    wander: float = 0.0  # slow random pitch, in octaves
    # The noise.
    band: Span | None = None  # lowest and highest Hz (not drawn: both ends vary a little); None: no noise
    slope: float = 0.0  # dB per octave
    breath: float = 0.5  # level of the noise where there is a tone too
    # The loudness.
    tremolo: Span | None = None  # Hz
    tremolo_depth: float = 0.9
    swell: Span | None = None  # Hz of the quickest wave in a slow random loudness


# The first n classes make the n-class dataset, so neighbours are of different families.
# None bears the name of an ESC-50 category: scores on these sounds are no ESC-50 scores.
SOUNDS: dict[str, tuple[Layer, ...]] = {
    "steady_tone": (Layer(hz=(220, 1400), wander=0.004),),
    "raindrops": (
        Layer(rate=(60, 150), jitter=1, seconds=(0.006, 0.02), shape="decay", band=(1500, 9000), accent=0.6),
        Layer(band=(800, 6000), level=0.1),
    ),
    "knocking": (
        Layer(rate=(5, 9), group=(2, 5), seconds=(0.06, 0.14), shape="decay", hz=(140, 320),
              chords=((1, 2.3, 3.7),), band=(200, 1500)),
    ),
    "songbird": (
        Layer(rate=(5, 10), group=(3, 8), rest=(0.2, 0.8), seconds=(0.05, 0.1), shape="arch", hz=(1700, 2300),
              spread=1.15, glide=(0.7, 1.35)),
    ),
    "wailing_siren": (Layer(hz=(650, 950), vibrato=(0.2, 0.45), depth=0.45, harmonics=6, tilt=1.2),),
    "surf": (Layer(band=(100, 6000), slope=-3, tremolo=(0.18, 0.4), tremolo_depth=0.97, swell=(1, 2)),),
    "ticking": (
        Layer(rate=(1.8, 4), jitter=0, seconds=(0.01, 0.035), shape="decay", hz=(1700, 2800),
              chords=((1, 1.4), (0.75, 1.05)), in_turn=True, band=(1500, 8000)),
    ),
    "bell_tower": (
        Layer(rate=(0.4, 0.9), seconds=(2, 4), shape="decay", hz=(250, 520),
              chords=((1, 0.5, 1.2, 1.5, 2, 3),), tilt=0.6),
    ),
    "idling_motor": (
        Layer(hz=(24, 45), harmonics=30, tilt=0.8, wander=0.04, tremolo=(5, 12), tremolo_depth=0.3),
        Layer(band=(60, 900), slope=-3, level=0.4),
    ),
    "laser_zaps": (
        Layer(rate=(2, 4.5), jitter=0.3, seconds=(0.14, 0.35), shape="decay", hz=(2200, 3400), glide=(0.05, 0.13),
              harmonics=3),
    ),
    "slow_breath": (
        Layer(rate=(0.6, 1), seconds=(0.7, 1), shape="arch", chords=((1,), (0.6,)), in_turn=True, band=(600, 2500)),
    ),
    "organ_chord": (Layer(hz=(170, 420), chords=((1, 1.26, 1.5), (1, 1.19, 1.5)), harmonics=8, tilt=1.1),),
    "ratchet": (
        Layer(rate=(22, 40), jitter=0.02, seconds=(0.008, 0.02), shape="decay", hz=(900, 1700), band=(900, 6000)),
    ),
    "croaking": (
        Layer(rate=(1.2, 2.8), seconds=(0.18, 0.35), shape="arch", hz=(80, 130), harmonics=24, tilt=0.2,
              formants=((500, 1400),), tremolo=(25, 45)),
    ),
    "gusts": (
        Layer(band=(120, 600), slope=-2, swell=(0.7, 1.6)),
        Layer(band=(500, 1600), swell=(1, 2), level=0.3),
    ),
    "alarm_beeps": (
        Layer(rate=(7, 10), jitter=0, group=(3, 4), rest=(0.2, 0.5), seconds=(0.05, 0.07), hz=(1700, 3000),
              harmonics=3, accent=0),
    ),
    "walking": (
        Layer(rate=(1.5, 2.4), seconds=(0.08, 0.16), shape="decay", hz=(60, 110), glide=(0.5, 0.7),
              band=(300, 3500), breath=0.6, accent=0.3),
    ),
    "vowels": (
        Layer(rate=(1.5, 3), seconds=(0.28, 0.5), shape="arch", hz=(95, 230), spread=1.1, glide=(0.85, 1.15),
              harmonics=30, tilt=0.6,
              formants=((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480))),
    ),
    "sawing_wood": (
        Layer(rate=(2.2, 4.5), seconds=(0.2, 0.34), shape="arch", chords=((1,), (0.7,)), in_turn=True,
              band=(1200, 7000), tremolo=(60, 110), tremolo_depth=0.6),
    ),
    "rising_chirp": (Layer(rate=(0.7, 1.4), seconds=(0.6, 1.1), hz=(180, 380), glide=(5, 9)),),
    "falling_chirp": (Layer(rate=(0.7, 1.4), seconds=(0.6, 1.1), hz=(1800, 3300), glide=(0.1, 0.18)),),
    "heartbeat": (
        Layer(rate=(3, 4.8), group=(2, 2), rest=(0.2, 0.6), seconds=(0.1, 0.2), shape="arch", hz=(45, 90),
              chords=((1,), (1.3,)), in_turn=True, glide=(0.6, 0.8)),
    ),
    "furnace_rumble": (Layer(band=(30, 150)),),
    "glass_chimes": (
        Layer(rate=(2, 5), jitter=1, seconds=(0.4, 1.2), shape="decay", hz=(1300, 2300), spread=1.4,
              chords=((1, 1.47, 2.09, 2.76),), tilt=0.5, accent=0.4),
    ),
    "telephone_ring": (
        Layer(rate=(0.5, 0.75), seconds=(0.9, 1.3), hz=(800, 1300), chords=((1, 1.26),), harmonics=4,
              tremolo=(17, 27), tremolo_depth=0.97),
    ),
    "applause": (
        Layer(rate=(50, 110), jitter=1, seconds=(0.03, 0.06), shape="decay", band=(500, 3000), accent=0.4),
    ),
    "propeller": (Layer(band=(60, 800), slope=-2, tremolo=(11, 22), tremolo_depth=0.98),),
    "dial_tones": (
        Layer(rate=(3, 5.5), jitter=0.05, seconds=(0.09, 0.16), hz=(0.95, 1.05), accent=0.05, tilt=0,
              chords=tuple((low, high) for low in (697, 770, 852, 941) for high in (1209, 1336, 1477))),
    ),
    "radio_static": (Layer(band=(700, 2000)),),
    "plucked_strings": (
        Layer(rate=(2, 4.5), seconds=(0.6, 1.5), shape="decay", hz=(110, 240), spread=1.5,
              chords=((1, 2, 3, 4, 5),), tilt=0.7),
    ),
    "gnat": (Layer(hz=(400, 680), harmonics=10, tilt=0.7, wander=0.07, swell=(1, 4)),),
    "far_thunder": (
        Layer(rate=(0.4, 0.9), jitter=0.6, seconds=(1.5, 3.5), shape="decay", band=(30, 400), slope=-2, accent=0.4,
              swell=(5, 9)),
    ),
    "morse_code": (Layer(rate=(11, 19), dashes=True, hz=(480, 980), accent=0),),
    "power_drill": (
        Layer(hz=(160, 290), harmonics=40, tilt=0.3, glide=(1.05, 1.4), there_and_back=True, band=(1500, 9000)),
    ),
    "bouncing_ball": (
        Layer(rate=(1.6, 2.6), group=(9, 14), rest=(0.2, 0.6), speedup=0.8, fade=0.87, jitter=0,
              seconds=(0.05, 0.1), shape="decay", hz=(270, 480), chords=((1, 2.7),), band=(200, 1500), breath=0.3),
    ),
    "cricket_song": (
        Layer(rate=(28, 42), group=(3, 5), rest=(0.2, 0.5), jitter=0, seconds=(0.018, 0.026), shape="arch",
              hz=(2800, 3500)),
    ),
    "two_tone_horn": (
        Layer(rate=(1.2, 2.4), jitter=0, hz=(340, 520), chords=((1,), (1.335,)), in_turn=True, harmonics=8, accent=0),
    ),
    "filling_glass": (
        Layer(rate=(25, 60), jitter=1, seconds=(0.02, 0.06), shape="decay", hz=(450, 1100), spread=1.6,
              glide=(1.2, 1.6), accent=0.5),
        Layer(band=(500, 5000), slope=-3, level=0.3),
    ),
    "giggle": (
        Layer(rate=(4.2, 6.5), group=(4, 8), rest=(0.2, 0.6), fade=0.93, seconds=(0.09, 0.14), shape="arch",
              hz=(160, 330), glide=(0.75, 0.95), harmonics=20, tilt=0.5, formants=((750, 1250, 2600),),
              band=(800, 4000), breath=0.2),
    ),
    "theremin": (Layer(hz=(380, 900), vibrato=(5, 7.5), depth=0.05, wander=0.35),),
    "embers": (
        Layer(rate=(5, 14), jitter=1, seconds=(0.004, 0.015), shape="decay", band=(800, 9000), accent=0.9),
        Layer(band=(80, 600), slope=-3, level=0.08, swell=(1, 3)),
    ),
    "snore": (
        Layer(rate=(0.4, 0.65), seconds=(0.8, 1.4), shape="arch", hz=(35, 65), harmonics=40, tilt=0.4,
              formants=((250, 600, 1800),), wander=0.08, band=(300, 2500), breath=0.2),
    ),
    "drum_roll": (
        Layer(rate=(12, 19), jitter=0.05, seconds=(0.05, 0.1), shape="decay", hz=(150, 240), band=(800, 7000),
              breath=0.8, accent=0.25),
    ),
    "sonar_ping": (Layer(rate=(0.5, 0.9), jitter=0, seconds=(0.8, 1.8), shape="decay", hz=(850, 1600)),),
    "waterfall": (Layer(band=(60, 12000), slope=-3),),
    "yapping": (
        Layer(rate=(2.2, 3.5), group=(1, 3), rest=(0.2, 0.7), seconds=(0.12, 0.22), shape="arch", hz=(280, 480),
              glide=(1.25, 1.6), there_and_back=True, harmonics=12, tilt=0.4, formants=((850, 1600),),
              band=(600, 3000), breath=0.15),
    ),
    "steam_hiss": (Layer(band=(2600, 12000)),),
    "arcade_blips": (
        Layer(rate=(7, 13), jitter=0, hz=(330, 800), chords=((1,), (1.25,), (1.5,), (2,)), harmonics=5, accent=0),
    ),
    "chuffing": (
        Layer(rate=(3, 6), jitter=0, seconds=(0.12, 0.2), shape="decay", band=(250, 2200), slope=-2, accent=0.25),
    ),
    "hooting": (
        Layer(rate=(1.8, 2.8), group=(2, 5), rest=(0.3, 0.8), seconds=(0.22, 0.36), shape="arch", hz=(270, 440),
              harmonics=2, tilt=2, glide=(1.02, 1.12), there_and_back=True),
    ),
}  # fmt: skip
