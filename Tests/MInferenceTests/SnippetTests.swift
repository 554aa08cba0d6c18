import MInference
import TemporaryCheckpoints
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The code in README.md and in the articles, compiled and run. Its lines stand here as they stand
/// there; the last test compares them.
@Suite struct SnippetTests {
  /// The documents' lines print; a test's output is not the place for random text.
  private func print(_ text: String, terminator: String = "") {}

  func answer(_ question: String, about document: String, model directory: String) async throws {
    let model = try await LanguageModel.load(directory: directory)
    let prompt = try model.encode(.user(document + "\n\n" + question))
    let session = try model.makeSession(capacity: prompt.count + 256)
    let report = try await session.prefill(prompt) { progress in
      print("\(progress.tokensDone) of \(progress.tokens) tokens")
    }
    for try await piece in session.generate(GenerationOptions(maximumTokens: 256)) {
      print(piece, terminator: "")
    }
    print("\ncomputed \(report.density) of all pairs")
  }

  @Test func `the README's function runs`() async throws {
    let directory = try TemporaryDirectory()
    try TinyCheckpoint.write(to: directory)
    try await answer("Who?", about: "A text.", model: directory.path("model"))
  }

  @Test func `the overview's lines run`() async throws {
    let directory = try TemporaryDirectory()
    try TinyCheckpoint.write(to: directory, name: "...")
    let (document, question) = ("A text.", "Who?")
    func overview(_ load: (String) async throws -> LanguageModel) async throws {
      let model = try await load("Models/...")
      let prompt = try model.encode(.user(document + "\n\n" + question))
      let session = try model.makeSession(capacity: prompt.count + 256)
      try await session.prefill(prompt)
      for try await piece in session.generate() {
        print(piece, terminator: "")
      }
    }
    try await overview { _ in
      try await LanguageModel.load(directory: directory.path("..."))
    }
  }

  @Test func `the kernels' lines run, and recall is a share`() throws {
    let rows = 700 + 1 + 133
    let q = (0..<rows * 256).map { Float($0 % 17) / 17 - 0.5 }
    let k = (0..<rows * 128).map { Float($0 % 13) / 13 - 0.5 }
    let v = (0..<rows * 128).map { Float($0 % 11) / 11 - 0.5 }

    let shape = AttentionShape(queryHeads: 4, keyValueHeads: 2, headDim: 64)
    let batch = try AttentionBatch(q: q, k: k, v: v, shape: shape, lengths: [700, 1, 133])
    let kernels = try AttentionKernels()

    let dense = try kernels.dense(batch)
    let indices = try kernels.estimateVerticalSlash(batch, vertical: 40, slash: 120)
    let sparse = try kernels.verticalSlash(batch, indices: indices)

    let recall = zip(sparse.logSumExp, dense.logSumExp).map { min(1, exp($0 - $1)) }
    #expect(recall.allSatisfy { $0 > 0 && $0 <= 1 })

    let chosen = VerticalSlashIndices(columns: [0, 1, 2, 3], offsets: Array(0..<64))
    let streaming = try kernels.aShape(batch, sink: 4, local: 64)
    let blocks = try kernels.estimateBlocks(batch, topK: 3)
    let blockSparse = try kernels.blockSparse(batch, blocks: blocks)
    #expect(chosen.columns.count == 4)
    #expect(streaming.density < 1 && blockSparse.density <= 1)
  }

  @Test func `the lines here are those of the documents`() throws {
    let source = Self.lines(try TemporaryDirectory.read("\(#filePath)"))
    let package = "\(#filePath)".split(separator: "/").dropLast(3).joined(separator: "/")
    let articles = "/\(package)/Sources/MInference/MInference.docc"
    for document in [
      "/\(package)/README.md", "\(articles)/MInference.md", "\(articles)/KernelsOnPlainBuffers.md",
    ] {
      let blocks = Self.swiftBlocks(try TemporaryDirectory.read(document))
      #expect(!blocks.isEmpty, "\(document)")
      for line in blocks.joined() where !line.hasPrefix("import ") {
        #expect(source.contains(Self.asWritten(line)), "\(document): \(line)")
      }
    }
  }

  /// The one line that cannot stand here as it does there: the model's directory.
  private static func asWritten(_ line: String) -> String {
    line == "let model = try await LanguageModel.load(directory: \"Models/...\")"
      ? "let model = try await load(\"Models/...\")" : line
  }

  private static func lines(_ text: String) -> Set<String> {
    Set(text.split(separator: "\n").map(trimmed))
  }

  private static func trimmed(_ line: Substring) -> String {
    String(line.drop { $0 == " " })
  }

  private static func swiftBlocks(_ text: String) -> [[String]] {
    var blocks: [[String]] = []
    var isInside = false
    for line in text.split(separator: "\n") {
      if line.hasPrefix("```") {
        isInside = line == "```swift"
        if isInside { blocks.append([]) }
      } else if isInside {
        blocks[blocks.count - 1].append(trimmed(line))
      }
    }
    return blocks
  }
}
