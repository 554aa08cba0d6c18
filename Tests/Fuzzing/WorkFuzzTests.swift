import Files
import MInference
import PatternSearch
import SparseAttention
import TemporaryCheckpoints
import Testing

/// Work files, from which an interrupted search goes on.
@Suite struct WorkFuzzTests {
  private static let marks = (start: Array("{\"checksum\":\"".utf8), middle: "\",\"entry\":")

  private static let fragments = [
    "{\"layer\":{\"sample\":0,\"layer\":0,\"_0\":[[]]}}", "\"layer\":", "\"sample\":", "[[[", "[]",
    "\"work\":{\"tilePairs\":9223372036854775807,", "\"recall\":", "1e308", "\"_0\":", "\r\n",
    "\"densities\":[]", "\"states\":\"\"", "\"errors\":[[]]", "\"length\":9223372036854775807",
  ]

  private func model(in directory: TemporaryDirectory) throws -> LanguageModel {
    try TinyCheckpoint.write(to: directory)
    return try LanguageModel(
      LoadOptions(directory: directory.path("model"), device: .cpu, threads: 1))
  }

  private static func ids(_ count: Int, seed: Int) -> [Int32] {
    (0..<count).map { Int32(($0 * 37 + $0 / 7 * seed) % 255) }
  }

  /// The lines with checksums of what they hold now: damage that no checksum finds.
  private static func sealed(_ bytes: [UInt8]) -> [UInt8] {
    let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    let header = marks.start.count + 16 + marks.middle.utf8.count
    let whole = lines.map { line -> [UInt8] in
      guard line.count > header, line.starts(with: marks.start), line.last == UInt8(ascii: "}")
      else { return Array(line) }
      let text = String(decoding: line.dropFirst(header).dropLast(), as: UTF8.self)
      return marks.start + Array((Fingerprint.of(text) + marks.middle + text + "}").utf8)
    }
    return Array(whole.joined(separator: [UInt8(ascii: "\n")]))
  }

  /// Puts mutated files, every other one with checksums that are right again, before `search`.
  private func resume(
    _ name: String, _ seed: [UInt8], rounds: Int, in directory: TemporaryDirectory,
    _ search: (_ file: String) throws -> Void
  ) throws {
    let mutation = Mutation(seeds: [seed], fragments: Self.fragments)
    var run = FuzzRun(name, mutation, rounds: rounds)
    var number = 0
    let counts = try run.run { mutated in
      number += 1
      let input = number.isMultiple(of: 2) ? Self.sealed(mutated) : mutated
      try directory.write(input, to: "work.jsonl")
      let found = Result { try search(directory.path("work.jsonl")) }
      let left = try FuzzFiles.bytes(of: directory.path("work.jsonl"))
      // Of a file without a whole line nothing is of use.
      guard left.starts(with: input) || !input.contains(UInt8(ascii: "\n")) else {
        throw FuzzFailure(what: "\(left.count) bytes are left of \(input.count)")
      }
      try found.get()
    }
    #expect(counts.accepted > 0 && counts.refused > rounds / 20)
  }

  @Test func `Searches by heads go on from mutated work files, or refuse them, and lose none`()
    throws
  {
    let directory = try TemporaryDirectory()
    let model = try model(in: directory)
    let samples = [
      SearchSample(name: "a", ids: Self.ids(140, seed: 3)),
      SearchSample(name: "b", ids: Self.ids(150, seed: 5)),
    ]
    func search(_ file: String, isCancelled: Bool) throws {
      let options = SearchOptions(
        space: CandidateSpace(
          name: "test",
          patterns: [.aShape(sink: 16, local: 64), .verticalSlash(vertical: 8, slash: 20)]),
        objective: .everyHead(RecallFloor(mean: 0.6, tenthPercentile: 0.3)), denseBelow: 0,
        calibrationLengths: [128, 256], workFile: file, isCancelled: { isCancelled })
      _ = try PatternSearch(
        model: model.transformer, fingerprint: "x", options: options
      ).run(samples)
    }
    try search(directory.path("work.jsonl"), isCancelled: false)
    let seed = try FuzzFiles.bytes(of: directory.path("work.jsonl"))
    // What would have to be measured again ends the search.
    try resume("work-by-heads", seed, rounds: 300, in: directory) {
      try search($0, isCancelled: true)
    }
  }

  @Test func `Searches by goals go on from mutated work files, or refuse them, and lose none`()
    throws
  {
    let directory = try TemporaryDirectory()
    let model = try model(in: directory)
    func sample(_ name: String, _ count: Int, seed: Int) -> GoalSample {
      GoalSample(
        name: name, kind: .text, length: 150, ids: Self.ids(count, seed: seed),
        positions: Array(stride(from: 7, to: count - 1, by: 20)))
    }
    let samples = GoalSamples(
      choosing: [sample("a", 150, seed: 3)], validating: [sample("b", 150, seed: 5)])
    func search(_ file: String, isCancelled: Bool) throws {
      let options = GoalSearchOptions(
        goal: .divergence(100),
        candidates: [.aShape(sink: 4, local: 16), .aShape(sink: 16, local: 80)], passes: 1e6,
        workFile: file, isCancelled: { isCancelled })
      _ = try GoalSearch(
        model: model.transformer, fingerprint: "x", options: options
      ).run(samples)
    }
    try search(directory.path("work.jsonl"), isCancelled: false)
    let seed = try FuzzFiles.bytes(of: directory.path("work.jsonl"))
    try resume("work-by-goals", seed, rounds: 300, in: directory) {
      try search($0, isCancelled: true)
    }
  }
}
