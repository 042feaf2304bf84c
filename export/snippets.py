"""Programs of a few lines that run a model file without this package, in the languages that ONNX Runtime has."""

from __future__ import annotations

from pathlib import Path
from string import Template

from .graph import LOGITS, PROBABILITIES, WAVEFORM, Metadata

PYTHON = """\
import json, numpy, onnxruntime, soundfile, soxr
model = onnxruntime.InferenceSession("$file", providers=["CPUExecutionProvider"])
labels = json.loads(model.get_modelmeta().custom_metadata_map["labels"])
y, sr = soundfile.read("dog.wav", dtype="float32", always_2d=True)
y = soxr.resample(y, sr, $sr)  # [samples, channels]
$prepared
(values,) = model.run(["$output"], {"waveform": clips$lengths})
$answer
"""

JAVASCRIPT = """\
import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-node"; // in a page: onnxruntime-web, and fetch for files
const { labels } = JSON.parse(readFileSync("$labels_file", "utf8"));
const model = await ort.InferenceSession.create("$file");
const samples = new $array(new Uint8Array(readFileSync("$raw")).buffer);
const clips = { waveform: new ort.Tensor("$dtype", samples, $shape)$lengths };
const values = (await model.run(clips, ["$output"])).$output.data;
$answer
"""

CSHARP = """\
using System.Runtime.InteropServices; using System.Text.Json;
using Microsoft.ML.OnnxRuntime; using Microsoft.ML.OnnxRuntime.Tensors;
using var model = new InferenceSession("$file");
var labels = JsonSerializer.Deserialize<string[]>(model.ModelMetadata.CustomMetadataMap["labels"]);
var samples = MemoryMarshal.Cast<byte, $type>(File.ReadAllBytes("$raw")).ToArray();
var clips = new List<NamedOnnxValue> {
    NamedOnnxValue.CreateFromTensor("waveform", new DenseTensor<$type>(samples, $shape))$lengths };
using var results = model.Run(clips, new[] { "$output" });
var values = results[0].AsEnumerable<float>().ToArray();
$answer
"""

RUST = """\
use ort::{inputs, session::Session, value::Tensor};
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut model = Session::builder()?.commit_from_file("$file")?;
    let labels: Vec<String> = serde_json::from_str(&model.metadata()?.custom("labels").unwrap())?;
    let bytes = std::fs::read("$raw")?;
    let samples: Vec<$type> = bytes.chunks_exact($width).map(|b| $type::from_le_bytes(b.try_into().unwrap())).collect();
    let n = samples.len();
    let results = model.run(inputs!["waveform" => Tensor::from_array(($shape, samples))?$lengths])?;
    let (_, values) = results["$output"].try_extract_tensor::<f32>()?;
    $answer
    Ok(())
}
"""

CPP = """\
#include <onnxruntime_cxx_api.h>
#include <algorithm>
#include <fstream>
#include <iostream>
#include <vector>
int main() {
  Ort::Env env;
  Ort::Session model(env, ORT_TSTR("$file"), Ort::SessionOptions());
  std::ifstream file("$raw", std::ios::binary | std::ios::ate);
  std::vector<$type> samples(file.tellg() / sizeof($type));
  file.seekg(0).read(reinterpret_cast<char*>(samples.data()), samples.size() * sizeof($type));
  std::vector<int64_t> shape = $shape, lengths = {int64_t(samples.size())}, one = {1};
  auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  std::vector<Ort::Value> clips;
  clips.push_back(Ort::Value::CreateTensor<$type>(
      memory, samples.data(), samples.size(), shape.data(), shape.size()));
  $lengths
  const char *inputs[] = {$inputs}, *outputs[] = {"$output"};
  auto results = model.Run(Ort::RunOptions(), inputs, clips.data(), clips.size(), outputs, 1);
  const float* values = results[0].GetTensorData<float>();
  size_t n = results[0].GetTensorTypeAndShapeInfo().GetElementCount();
  $answer
}
"""

# For each language: its fence in Markdown, its name, its program; the type, array or width of samples; a clip's shape
# without and with channels; what hands over lengths; what is said of scores, and of other values.
LANGUAGES = {
    "python": ("Python", PYTHON, {}, ("", ""), ', "lengths": numpy.array([clips.shape[-1]])'),
    "javascript": (
        "JavaScript: onnxruntime-node",
        JAVASCRIPT,
        {"float32": {"array": "Float32Array"}, "int16": {"array": "Int16Array"}},
        ("[1, samples.length]", "[1, 1, samples.length]"),
        ',\n  lengths: new ort.Tensor("int64", BigInt64Array.of(BigInt(samples.length)), [1])',
    ),
    "csharp": (
        "C#: Microsoft.ML.OnnxRuntime (of these the one that no test runs)",
        CSHARP,
        {"float32": {"type": "float"}, "int16": {"type": "short"}},
        ("new[] { 1, samples.Length }", "new[] { 1, 1, samples.Length }"),
        (
            ',\n    NamedOnnxValue.CreateFromTensor("lengths",\n'
            "        new DenseTensor<long>(new[] { (long)samples.Length }, new[] { 1 }))"
        ),
    ),
    "rust": (
        "Rust: ort 2, serde_json",
        RUST,
        {"float32": {"type": "f32", "width": "4"}, "int16": {"type": "i16", "width": "2"}},
        ("[1, n]", "[1, 1, n]"),
        ',\n        "lengths" => Tensor::from_array(([1], vec![n as i64]))?',
    ),
    "cpp": (
        "C++",
        CPP,
        {"float32": {"type": "float"}, "int16": {"type": "int16_t"}},
        ("{1, int64_t(samples.size())}", "{1, 1, int64_t(samples.size())}"),
        "clips.push_back(Ort::Value::CreateTensor<int64_t>(memory, lengths.data(), 1, one.data(), 1));",
    ),
}
BEST = {
    "python": "print(labels[values[0].argmax()], values[0].max())",
    "javascript": "const best = values.indexOf(Math.max(...values));\nconsole.log(labels[best], values[best]);",
    "csharp": 'Console.WriteLine($$"{labels[Array.IndexOf(values, values.Max())]} {values.Max()}");',
    "rust": "let best = (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b])).unwrap();\n"
    '    println!("{} {}", labels[best], values[best]);',
    "cpp": 'auto best = std::max_element(values, values + n);\n  std::cout << best - values << " " << *best << "\\n";'
    "  // its place among the labels, from 0",
}
OTHERS = {
    "python": "print(values.shape)",
    "javascript": "console.log(values.length);",
    "csharp": "Console.WriteLine(values.Length);",
    "rust": 'println!("{}", values.len());',
    "cpp": 'std::cout << n << "\\n";',
}
RAW = {"float32": ("f32le", "dog.f32"), "int16": ("s16le", "dog.s16")}


def snippets(metadata: Metadata, path: Path, labels_file: str) -> dict[str, tuple[str, str]]:
    """Return for each language its heading and a program that classifies one recording with a waveform model.

    Parameters
    ----------
    metadata : Metadata
    path : Path
        File of the model; the programs use its name.
    labels_file : str
        Name of the file with the labels.
    """
    assert metadata.input == WAVEFORM
    interface = metadata.interface
    scored = [name for name in (PROBABILITIES, LOGITS) if name in interface.outputs]
    facts = {
        "file": path.name,
        "labels_file": labels_file,
        "raw": RAW[interface.dtype][1],
        "dtype": interface.dtype,
        "sr": str(metadata.sr),
        "output": (scored or interface.outputs)[0],
        "inputs": '"waveform", "lengths"' if interface.lengths else '"waveform"',
        "prepared": prepared(metadata),
    }
    made = {}
    for language, (heading, program, types, shapes, lengths) in LANGUAGES.items():
        own = {
            "shape": shapes[interface.channels],
            "lengths": lengths if interface.lengths else "",
            "answer": Template((BEST if scored else OTHERS)[language]).substitute(),
            **types.get(interface.dtype, {}),
        }
        text = Template(program).substitute(facts, **own)
        made[language] = heading, "".join(line + "\n" for line in text.splitlines() if line.strip())
    return made


def ffmpeg(metadata: Metadata) -> str:
    """Return the command that makes of any recording the raw samples that the programs read."""
    form, raw = RAW[metadata.interface.dtype]
    samples = metadata.interface.samples
    cut = "" if samples is None else f" -af atrim=end_sample={samples}"
    return f"ffmpeg -i dog.mp3 -ac 1 -ar {metadata.sr}{cut} -f {form} {raw}"


def prepared(metadata: Metadata, padded: int | None = None) -> str:
    """Return the lines of Python that make clips of ``y`` [samples, channels].

    Parameters
    ----------
    metadata : Metadata
    padded : int, optional
        Samples of every clip, for a file that takes lengths; ``n`` is then the clip's own.
    """
    interface, lines = metadata.interface, []
    if padded is not None:
        lines.append(f"n = min(len(y), {padded})")
        lines.append(f"y = numpy.pad(y[:n], ((0, {padded} - n), (0, 0)))")
    if interface.samples is not None:
        n, own = interface.samples, min(interface.samples, metadata.own_samples)
        reflected = ', mode="reflect"' if interface.fit == "mirror" else ""
        before = "-(-missing // 2), missing // 2" if reflected else "0, missing"
        lines.append(f"missing = max(0, {own} - len(y))")
        lines.append(f"y = numpy.pad(y, (({before}), (0, 0)){reflected})[:{n}]")
        if n > own:
            lines.append(f"y = numpy.pad(y, ((0, {n} - len(y)), (0, 0)))")
    clips = "y.T[None]" if interface.channels else "y.mean(axis=1)[None]"
    if interface.dtype == "int16":
        clips = f'numpy.clip(32768 * {clips}, -32768, 32767).astype("int16")'
    clips = f"numpy.ascontiguousarray({clips})" if interface.channels else clips
    lines.append(f"clips = {clips}  # [1, {'channels, ' if interface.channels else ''}samples]")
    return "\n".join(lines)
