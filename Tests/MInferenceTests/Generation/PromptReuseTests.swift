import MInference
import TemporaryCheckpoints
import Testing

/// Conversations that are read over what a session holds.
@Suite struct PromptReuseTests {
  let directory: TemporaryDirectory
  let model: LanguageModel

  init() throws { (directory, model) = try TinyModel.make(threads: 2) }

  private func answer(_ session: Session, tokens: Int = 12) async throws -> String {
    var text = ""
    for try await piece in session.generate(GenerationOptions(maximumTokens: tokens)) {
      text += piece
    }
    return text
  }

  /// Ids that do not repeat early.
  private func ids(_ count: Int, seed: Int32 = 0) -> [Int32] {
    (0..<Int32(count)).map { ($0 &* 37 &+ $0 / 7 &+ seed) % 250 }
  }

  /// Logits behind everything that a session holds.
  private func logits(_ session: Session) throws -> [Float] {
    try #require(session.nextLogits)
  }

  private func expectSame(_ reused: [Float], _ whole: [Float]) {
    let largest = whole.map(abs).max() ?? 0
    #expect(reused.count == whole.count && largest > 0)
    #expect(zip(reused, whole).allSatisfy { abs($0 - $1) <= 1e-4 * largest })
  }

  @Test(arguments: [DataType.float32, .bfloat16])
  func `what is reused gives the logits and the answer of reading all`(type: DataType) async throws
  {
    let options = SessionOptions(
      attention: AttentionOptions(mode: .dense), keyValues: KeyValueOptions(type: type))
    let common = ids(200)
    // The first conversation goes on differently: the cache is cut in the middle.
    let reused = try model.makeSession(capacity: 400, options: options)
    #expect(try await reused.read(common + ids(90, seed: 5)).reusedTokens == 0)
    _ = try await answer(reused)
    let next = common + ids(30, seed: 11)
    let report = try await reused.read(next)
    #expect(report.reusedTokens == 200 && report.tokens == 30)
    #expect(reused.metrics.promptTokens == 30 && reused.metrics.prefill?.reusedTokens == 200)
    let whole = try model.makeSession(capacity: 400, options: options)
    try await whole.prefill(next)
    // What is in the cache is rounded alike in both; only float32 sums are in another order.
    if type == .float32 { expectSame(try logits(reused), try logits(whole)) }
    #expect(try await answer(reused) == answer(whole))
  }

  @Test func `an answer is part of what is reused, but for a last token not read yet`() async throws
  {
    let session = try model.makeSession(
      capacity: 400, options: SessionOptions(attention: AttentionOptions(mode: .dense)))
    let prompt = ids(50)
    try await session.prefill(prompt)
    _ = try await answer(session, tokens: 5)
    let history = session.tokens
    try #require(history.count == 55)
    let report = try await session.read(history + ids(9))
    #expect(report.reusedTokens == 54 && report.tokens == 10)
    let whole = try model.makeSession(
      capacity: 400, options: SessionOptions(attention: AttentionOptions(mode: .dense)))
    try await whole.prefill(history + ids(9))
    expectSame(try logits(session), try logits(whole))
  }

  @Test(arguments: [AttentionMode.dense, .minference, .aShape])
  func `the same conversation once more reads its last token alone`(mode: AttentionMode)
    async throws
  {
    let session = try model.makeSession(
      capacity: 700, options: SessionOptions(attention: AttentionOptions(mode: mode)))
    let prompt = ids(600)
    try await session.read(prompt)
    let first = try logits(session)
    let report = try await session.read(prompt)
    #expect(report.reusedTokens == 599 && report.tokens == 1)
    if mode == .dense { expectSame(try logits(session), first) }
    #expect(try logits(session).allSatisfy(\.isFinite))
    // A beginning of what is there is truncated to; its last token is read again.
    #expect(try await session.read(Array(prompt[..<300])).reusedTokens == 299)
  }

  @Test func `the new part is read with a sparse plan of its own`() async throws {
    let attention = AttentionOptions(
      mode: .aShape, budgets: AttentionBudgets(sink: 16, local: 64), exact: true)
    let session = try model.makeSession(
      capacity: 2040, options: SessionOptions(attention: attention))
    try await session.read(ids(1000))
    let report = try await session.read(ids(1000)[..<900] + ids(600, seed: 3))
    #expect(report.reusedTokens == 900 && report.density < 0.5)
    let chunked = try model.makeSession(
      capacity: 2040, options: SessionOptions(attention: attention))
    try await chunked.prefill(Array(ids(1000)[..<900]))
    try await chunked.prefill(ids(600, seed: 3))
    #expect(report.computedPairs == chunked.metrics.prefill?.computedPairs)
  }

  @Test func `nothing in common reads all, and nothing at all is an error`() async throws {
    let session = try model.makeSession(capacity: 100)
    try await session.read(ids(20))
    #expect(try await session.read(ids(20, seed: 1)).reusedTokens == 0)
    await #expect(throws: LanguageModelError.emptyPrompt) { try await session.read([]) }
    await #expect(throws: LanguageModelError.sessionFull(tokens: 101, capacity: 100)) {
      try await session.read(ids(101))
    }
    // What did not fit changed nothing.
    #expect(try await session.read(ids(20, seed: 1)).reusedTokens == 19)
  }

  @Test func `a reading that fails leaves the common beginning`() async throws {
    let options = SessionOptions(attention: AttentionOptions(mode: .dense), chunk: 16)
    let session = try model.makeSession(capacity: 400, options: options)
    let prompt = ids(100)
    try await session.read(prompt)
    await #expect(throws: TransformerError.self) {
      try await session.read(Array(prompt[..<60]) + [-1])
    }
    await #expect(throws: LanguageModelError.nothingPrefilled) { try await answer(session) }
    #expect(try await session.read(prompt).reusedTokens == 60)
    let whole = try model.makeSession(capacity: 400, options: options)
    try await whole.read(prompt)
    expectSame(try logits(session), try logits(whole))
  }

  /// Short factors and long ones do not mix, in either direction.
  @Test func `a conversation that shrinks below LongRoPE's original length is read as a whole`()
    async throws
  {
    let model = try TinyModel.makeLongRoPE(
      original: 40, in: directory, threads: 2)
    let options = SessionOptions(attention: AttentionOptions(mode: .dense))
    let session = try model.makeSession(capacity: 100, options: options)
    try await session.read(ids(50))
    #expect(try await session.read(ids(60)).reusedTokens == 50)
    #expect(try await session.read(ids(30)).reusedTokens == 0)
    #expect(try await session.read(ids(35)).reusedTokens == 30)
    let whole = try model.makeSession(capacity: 100, options: options)
    try await whole.read(ids(35))
    expectSame(try logits(session), try logits(whole))
    #expect(try await session.read(ids(41)).reusedTokens == 0)
  }
}
