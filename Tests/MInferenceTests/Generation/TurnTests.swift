import MInference
import Synchronization
import TemporaryCheckpoints
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Callers of one session, and files that change under it.
@Suite struct TurnTests {
  let directory: TemporaryDirectory
  let model: LanguageModel

  init() throws {
    directory = try TemporaryDirectory()
    try TinyCheckpoint.write(
      to: directory, configuration: ["max_position_embeddings": "65536", "eos_token_id": "null"])
    // Nothing ends a text.
    try directory.write("{}", to: "model/tokenizer_config.json")
    model = try LanguageModel(
      LoadOptions(directory: directory.path("model"), device: .cpu, threads: 1))
  }

  @Test func `a caller that is cancelled while it waits ends before its turn comes`() async throws {
    let session = try model.makeSession(capacity: 4000)
    try await session.prefill(Array(40..<60))
    let stream = session.generate(GenerationOptions(maximumTokens: 3000))
    let waiting = Task { try await session.prefill([1, 2, 3]) }
    try await Task.sleep(for: .milliseconds(50))
    waiting.cancel()
    let outcome = await waiting.result
    #expect(throws: CancellationError.self) { try outcome.get() }
    let ended = ContinuousClock.now
    // The answer goes on, and nothing of the other call is behind it.
    for try await _ in stream {}
    #expect(ContinuousClock.now > ended)
    let settled = try await session.settledTokens()
    #expect(settled.count == 20 + 3000 || settled.count == 20 + 3000 - 1)
    #expect(settled == session.tokens)
  }

  @Test func `callers come in the order in which they asked`() async throws {
    let session = try model.makeSession(capacity: 100)
    try await session.prefill([40, 41])
    let stream = session.generate(GenerationOptions(maximumTokens: 8))
    // Asked for after the answer, so read behind it.
    try await session.prefill([50])
    #expect(session.tokens.count == 2 + 8 + 1 && session.tokens.last == 50)
    var text = ""
    for try await piece in stream { text += piece }
    #expect(!text.isEmpty)
  }

  @Test func `weights that are overwritten while they are mapped are an error`() async throws {
    let session = try model.makeSession(capacity: 200)
    try await session.prefill(Array(40..<60))
    let path = directory.path("model/model.safetensors")
    let file = try #require(fopen(path, "r+b"))
    fseek(file, -64, SEEK_END)
    fwrite([UInt8](repeating: 0, count: 64), 1, 64, file)
    fclose(file)
    do {
      try await session.prefill(Array(60..<80))
      Issue.record("the change was not seen")
    } catch let error as CheckpointError {
      #expect("\(error)".contains("model.safetensors"))
    }
    let other = try model.makeSession(capacity: 200)
    await #expect(throws: CheckpointError.self) { try await other.prefill([1, 2]) }
  }

  @Test func `loading tells the share of the weights that was read`() throws {
    let shares = Mutex<[Double]>([])
    _ = try LanguageModel(
      LoadOptions(directory: directory.path("model"), device: .cpu, threads: 1)
    ) { share in
      shares.withLock { $0.append(share) }
    }
    let told = shares.withLock { $0 }
    #expect(told.last == 1 && told == told.sorted() && told.count > 10)
  }
}
