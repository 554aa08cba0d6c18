import ArgumentParser
import Benchmarks
import JSON
import MInference

/// `minference bench tokenize`: how fast texts are split and made into ids.
struct BenchTokenizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenize",
    abstract: "Splitting texts by the patterns of tokenizers, and a tokenizer's own speed.",
    discussion: """
      On one thread, in processor time, the best of several runs. Patterns of the first table go by the \
      names of GGUF files: gpt-4o is o200k, qwen35 that of Qwen3.5. A scanner is written for one pattern, \
      the matcher takes any.

      Example: minference bench tokenize --model DIR --text book.txt
      """)

  @Option(
    help: ArgumentHelp(
      "Measure this tokenizer, too: a directory, a GGUF file, or ORG/NAME.", valueName: "model"),
    completion: .file(extensions: ["gguf"]))
  var model: String?

  @Option(
    parsing: .upToNextOption,
    help: ArgumentHelp(
      "UTF-8 files; made-up prose, code, Chinese and odd characters if none is given.",
      valueName: "file"), completion: .file())
  var text: [String] = []

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Runs of each, of which the best counts; 3 if not given.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var `repeat`: Size = Size(value: 3)

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() throws {
    let texts = try text.map { path in
      let bytes = Array(try InputText.read(path: path).utf8)
      guard !bytes.isEmpty else {
        throw CommandFailure(.inputData, "\(path): is empty; give a file with text")
      }
      return (name: path.split(separator: "/").last.map(String.init) ?? path, bytes: bytes)
    }
    let report = TokenizingReport(
      splits: try SplitBenchmark.run(texts: texts, repetitions: self.repeat.value),
      encoding: try model.map { model in
        try TokenizerBenchmark.run(
          load: { try openTokenizer(at: model) }, texts: texts, repetitions: self.repeat.value)
      })
    try StandardOutput.write(
      json ? report.json.describingBuild(on: []).serialized() + "\n" : report.text)
  }
}
