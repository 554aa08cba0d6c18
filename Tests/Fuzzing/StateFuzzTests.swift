import EvaluationTasks
import JSON
import MInference
import SparseAttention
import TemporaryCheckpoints
import Testing

/// Files that this program writes itself and reads again: patterns, conversations, results.
@Suite struct StateFuzzTests {
  @Test func `Mutated pattern files are read or refused`() throws {
    let directory = try TemporaryDirectory()
    let mutation = Mutation(
      texts: [
        #"[{"0": ["vertical_and_slash", 100, 800, 0.9], "1": ["stream_llm", 100, 800, 1.0]}, "#
          + #"{"0": ["block_sparse", 100, 0, 1], "1": ["vertical_and_slash", 30, 2048, 1e-3]}]"#,
        #"{"version": 1, "model": "m", "layers": [[{"pattern": "vertical-slash", "vertical": 8, "#
          + #""slash": 64}, {"pattern": "a-shape", "sink": 4, "local": 64}]]}"#,
      ],
      fragments: [
        "\"65535\":[\"vertical_and_slash\",1,1,1.0],", "{},{},{},", "\"version\":99,", "// x\n",
        "\"a-shape\"", "\"stream_llm\"",
      ])
    var run = FuzzRun("pattern", mutation, rounds: 800)
    let counts = try run.run { input in
      try directory.write(input, to: "patterns.json")
      let patterns = try PatternConfiguration(contentsOfFile: directory.path("patterns.json"))
      _ = try patterns.validated(layers: 2, heads: 2)
    }
    #expect(counts.refused > 100)
  }

  @Test func `Mutated conversations are refused, and the session goes on`() async throws {
    let directory = try TemporaryDirectory()
    try TinyCheckpoint.write(to: directory)
    let model = try await LanguageModel.load(
      LoadOptions(directory: directory.path("model"), device: .cpu, threads: 1))
    let session = try model.makeSession(capacity: 64)
    try await session.prefill(Array(40..<60))
    try await session.save(to: directory.path("saved"))
    let seed = try FuzzFiles.bytes(of: directory.path("saved"))
    let mutation = Mutation(seeds: [seed], fragments: ["\u{0}", "MI"], reach: 300)
    var inputs: [[UInt8]] = []
    var run = FuzzRun("conversation", mutation, rounds: 120)
    _ = try run.run { inputs.append($0) }
    for input in inputs where input != seed {
      try directory.write(input, to: "mutated")
      do {
        try await session.restore(from: directory.path("mutated"))
        Issue.record("a changed conversation of \(input.count) bytes was taken up")
      } catch let error as CacheFileError {
        #expect(!"\(error)".contains("\n") && "\(error)".utf8.count < 1000)
      }
    }
    try await session.restore(from: directory.path("saved"))
    #expect(session.tokens == Array(40..<60))
  }

  @Test func `Mutated prefixes on disk are refused, or say the same`() throws {
    let directory = try TemporaryDirectory()
    let layout = SegmentLayout(
      KeyValueExtents(type: .float8, heads: 2, headDim: 4), layers: 2, positions: 9,
      blockBytes: 64)
    let trailer = SegmentTrailer(
      key: "0123456789abcdef", identity: 3, parent: 0, start: 0, sequenceLength: 9,
      secondsPerToken: 0.5, tokens: Array(1...9), factors: [Float](repeating: 1, count: 8),
      checksums: [UInt64](repeating: 7, count: layout.blockCount))
    let blocks = [UInt8](repeating: 5, count: layout.blocksEnd - SegmentLayout.headByteCount)
    let seed = layout.head + blocks + trailer.bytes(layout)
    let mutation = Mutation(seeds: [seed], fragments: ["\u{0}", "minfsegm"], reach: 120)
    var run = FuzzRun("prefix", mutation, rounds: 400)
    let counts = try run.run { input in
      try directory.write(input, to: "segment.keys")
      guard let file = SegmentFile(path: directory.path("segment.keys")) else {
        throw CacheFileError.foreign(file: "segment.keys")
      }
      guard file.layout == layout, file.trailer == trailer else {
        throw FuzzFailure(what: "a changed file was taken for a whole one")
      }
    }
    #expect(counts.refused > 100)
  }

  /// A result with the members that every kind of results has.
  private struct Line: RunLine {
    var task: String
    var score: Double

    init(task: String, score: Double) {
      self.task = task
      self.score = score
    }

    init?(_ value: JSONValue) {
      guard let task = value["task"]?.text, let score = value["score"]?.double else { return nil }
      self.init(task: task, score: score)
    }

    var key: RunKey { RunKey(task: task, method: "dense") }
    var json: JSONValue { .object([("task", .string(task)), ("score", .number(score))]) }
  }

  @Test func `Mutated results files are never lost: what is refused stays as it was`() throws {
    let directory = try TemporaryDirectory()
    let run = [(name: "model", value: "m"), (name: "seed", value: "1")]
    do {
      var log = try RunLog<Line>(path: directory.path("seed.jsonl"), run: run)
      for number in 0..<3 { try log.append(Line(task: "needle-\(number)", score: 0.5)) }
    }
    let seed = try FuzzFiles.bytes(of: directory.path("seed.jsonl"))
    let mutation = Mutation(
      seeds: [seed], fragments: ["\r\n", "\n", "{\"run\":{}}\n", "\"task\":", "\u{0}"])
    var fuzz = FuzzRun("results", mutation, rounds: 500)
    let counts = try fuzz.run { input in
      try directory.write(input, to: "results.jsonl")
      do {
        let log = try RunLog<Line>(path: directory.path("results.jsonl"), run: run)
        _ = log.lines.count
      } catch {
        let left = try FuzzFiles.bytes(of: directory.path("results.jsonl"))
        guard left == input else {
          throw FuzzFailure(what: "a refused file became \(left.count) of \(input.count) bytes")
        }
        throw error
      }
      let left = try FuzzFiles.bytes(of: directory.path("results.jsonl"))
      // A last line that was cut off may go, and an end of line may come.
      let common = zip(left, input).prefix { $0 == $1 }.count
      guard common >= min(left.count, input.count) || input.isEmpty else {
        throw FuzzFailure(what: "lines that were there were changed")
      }
    }
    #expect(counts.accepted > 0 && counts.refused > 50)
  }
}
