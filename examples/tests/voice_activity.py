"""What the original network says of a made-up voice, for the test of the recipe `voice_activity`.

    pip install numpy onnxruntime silero-vad torch torchaudio
    python3 examples/tests/voice_activity.py > examples/tests/voice_activity.txt
"""

import contextlib
import importlib.util
import pathlib

import numpy
import onnxruntime

RATE = 16_000
# The resonances of a, i, u and o: 2 · 0.97 · cos(2π f / 16000) · 2^14, for the first three of each.
VOWELS = [
    [30592, 28206, 16608],
    [31565, 19678, 12164],
    [31565, 29948, 20260],
    [31174, 24169, 17659],
]


def voice():
    """Four seconds, in whole numbers so that the test makes the same: two phrases over faint noise."""
    seed, phase, before, samples = 1, 0, [[0, 0] for _ in range(3)], []
    for n in range(4 * RATE):
        seed = (seed * 1664525 + 1013904223) & 0xFFFFFFFF
        noise = (seed >> 16) - 32768
        speaks = 8_000 <= n < 27_200 or 38_400 <= n < 52_800
        vowel = n % 3200
        loud = (min(vowel, 3200 - vowel) * 2 if speaks else 0)
        phase += 120 + n // 1600 % 4 * 8
        pulse = 30_000 * loud >> 12 if phase >= RATE else 0
        phase %= RATE
        x = pulse + (noise * loud >> 18)
        for k, last in enumerate(before):
            x = (x * 4096 + VOWELS[n // 3200 % 4][k] * last[0] - 15416 * last[1]) >> 14
            last[0], last[1] = x, last[0]
        samples.append(max(-32768, min(32767, x + (noise >> 9))))
    return samples


package = pathlib.Path(importlib.util.find_spec("silero_vad").origin).parent
session = onnxruntime.InferenceSession(package / "data" / "silero_vad.onnx")
samples = numpy.array(voice()).astype(numpy.float32) / numpy.float32(32768)
state, heard, probabilities = numpy.zeros((2, 1, 128), numpy.float32), numpy.zeros(64, numpy.float32), []
for window in samples.reshape(-1, 512):
    inputs = {"input": numpy.concatenate([heard, window])[None], "state": state, "sr": numpy.array(RATE)}
    probability, state = session.run(None, inputs)
    probabilities.append(float(probability[0, 0]))
    heard = window[-64:]

with contextlib.redirect_stdout(None):
    from silero_vad.utils_vad import get_speech_timestamps_from_probs
for probability in probabilities:
    print(f"{probability:.6f}")
for speech in get_speech_timestamps_from_probs(probabilities, audio_length_samples=len(samples)):
    print(f"speech from {speech['start'] / RATE:.3f} s to {speech['end'] / RATE:.3f} s")
