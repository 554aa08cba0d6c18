import Compute
import Files
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

/// An engine that has little memory, and a disk.
@Suite struct EngineDiskTests {
  let directory: TemporaryDirectory
  let model: LanguageModel

  init() throws { (directory, model) = try TinyModel.make() }

  private var asker: Asker { Asker(model: model) }
  private static let bytesPerToken = 2 * TinyCheckpoint.layers * 64 * 4

  /// - Parameter tokens: What the memory holds; nil: all.
  private func options(
    tokens: Int? = nil, diskBytes: Int = 1 << 30, stallSeconds: Double = 0.001
  ) -> EngineOptions {
    var disk = PrefixDirectory.Options(
      path: directory.path("cache"), byteCount: diskBytes, leastTokens: 256)
    disk.blockBytes = 16 * 512
    return EngineOptions(
      memoryBytes: tokens.map { $0 * Self.bytesPerToken }, stallSeconds: stallSeconds, disk: disk)
  }

  private func prompt(_ number: Int, _ end: String = "Where?", length: Int = 1200) throws
    -> [Int32]
  {
    try model.encode(.raw(asker.text(number, length: length) + end))
  }

  private func ask(
    _ engine: Engine, _ prompt: [Int32], tokens: Int = 4
  ) async throws -> Asker.Answer {
    try await asker.answer(engine, AnswerRequest(prompt: prompt, maximumTokens: tokens))
  }

  private func files() throws -> [SegmentFile] { try directory.segmentFiles() }

  @Test func `what memory has to give up goes to disk and comes back the same`() async throws {
    // One sequence with room to go on, and the beginning of a second.
    let engine = try Engine(model: model, options: options(tokens: TinyCheckpoint.context + 500))
    let (asker, model) = (asker, model)
    for number in 0..<3 {
      let prompt = try prompt(number)
      // The next request is there before the engine is idle.
      async let answer = asker.answer(
        engine, AnswerRequest(prompt: prompt, maximumTokens: 4))
      async let other = asker.answer(
        engine,
        AnswerRequest(
          prompt: try model.encode(.raw(asker.text(number + 10, length: 1200))),
          maximumTokens: 4))
      #expect(try await answer.text == asker.single(prompt, tokens: 4))
      _ = try await other
    }
    #expect(try files().count >= 4 && engine.currentMetrics.diskFailures == 0)
    #expect(engine.currentMetrics.keyValueBytes <= engine.memoryBudget)
    for number in 0..<3 {
      let prompt = try prompt(number, "Who has it?")
      let found = try await ask(engine, prompt)
      #expect(try found.text == asker.single(prompt, tokens: 4))
      #expect(found.cached >= 1200)
    }
    #expect(engine.currentMetrics.diskHits >= 2)
    await engine.stop()
  }

  @Test func `a damaged run of tokens goes with what is behind it, and the answer stays right`()
    async throws
  {
    let engine = try Engine(model: model, options: options())
    let document = asker.text(1, length: 900)
    // Two conversations about one document, one of which goes on.
    let texts = [document + asker.text(2, length: 300), document + asker.text(3, length: 300)]
    for text in texts { _ = try await ask(engine, model.encode(.raw(text))) }
    await engine.stop()
    let stored = try files()
    // The second goes on within the run of the first.
    #expect(stored.map(\.trailer.start) == [0, 900])
    #expect(stored[1].trailer.parent == stored[0].trailer.identity)
    // A key of the document.
    let path = stored[0].reader.path
    let whole = try WholeFile.bytes(of: path)
    var bytes = whole
    bytes[stored[0].layout.byteRange(ofBlock: 20).lowerBound + 7] ^= 1
    try directory.write(bytes, to: "cache/" + (path.split(separator: "/").last ?? ""))
    let second = try Engine(model: model, options: options())
    let prompt = try model.encode(.raw(texts[1] + "Who?"))
    let found = try await ask(second, prompt)
    #expect(try found.text == asker.single(prompt, tokens: 4))
    #expect(found.cached == 0)
    #expect(second.currentMetrics.diskHits == 0)
    // Nothing of it is left; the sequence is written anew when the engine stops.
    await second.stop()
    let anew = try files()
    #expect(anew.allSatisfy { file in !stored.contains { $0.reader.path == file.reader.path } })
    #expect(anew.first?.trailer.end ?? 0 >= prompt.count)
  }

  @Test func `a damaged end leaves its beginning in use`() async throws {
    let engine = try Engine(model: model, options: options())
    let document = asker.text(4, length: 900)
    let texts = [5, 6].map { document + asker.text($0, length: 400) }
    for text in texts { _ = try await ask(engine, model.encode(.raw(text))) }
    await engine.stop()
    let file = try #require(try files().last)
    var bytes = try WholeFile.bytes(of: file.reader.path)
    bytes[file.layout.blocksEnd - 1] ^= 0x80
    let name = try #require(file.reader.path.split(separator: "/").last)
    try directory.write(bytes, to: "cache/\(name)")
    let second = try Engine(model: model, options: options())
    let prompt = try model.encode(.raw(texts[1] + "Who?"))
    let found = try await ask(second, prompt)
    #expect(found.cached == file.trailer.start && found.cached >= 900)
    #expect(try found.text == asker.single(prompt, tokens: 4))
    await second.stop()
  }

  @Test func `answers get their tokens while a prefix is read from disk`() async throws {
    let long = try prompt(7, length: 1900)
    let first = try Engine(model: model, options: options())
    _ = try await ask(first, long)
    await first.stop()

    // A turn takes a block.
    let engine = try Engine(model: model, options: options(stallSeconds: 1e-6))
    var request = AnswerRequest(prompt: try prompt(8, length: 50), maximumTokens: 1500)
    request.ignoresEndOfText = true
    let rounds = Mutex<[Int]>([])
    let answer = Task {
      for try await event in try engine.submit(request) {
        if case .token = event, rounds.withLock({ $0.isEmpty }) {
          rounds.withLock { $0.append(engine.currentMetrics.decodeRounds) }
        }
      }
    }
    while rounds.withLock({ $0.isEmpty }) { try await Task.sleep(for: .milliseconds(1)) }
    let before = engine.currentMetrics.decodeRounds
    for try await event in try engine.submit(AnswerRequest(prompt: long, maximumTokens: 1)) {
      guard case .progress(let progress) = event, progress.cached >= 1900 else { continue }
      // Each block of the file had a turn: a token went before it.
      #expect(engine.currentMetrics.decodeRounds - before >= 100)
      break
    }
    answer.cancel()
    _ = try? await answer.value
    await engine.stop()
    #expect(engine.currentMetrics.diskHits == 1)
  }

  @Test func `the files take no more than they may, and the oldest ends go first`() async throws {
    // Two sequences of 1,200 tokens and a bit.
    let limit = 2700 * Self.bytesPerToken
    let engine = try Engine(model: model, options: options(diskBytes: limit))
    let document = asker.text(9, length: 900)
    for (number, text) in [
      document + asker.text(11, length: 300), asker.text(12, length: 1000),
      document + asker.text(13, length: 300), asker.text(14, length: 500),
    ].enumerated() {
      _ = try await ask(engine, model.encode(.raw(text)))
      // The engine writes when it has nothing else to do.
      while try files().count < min(number + 1, 2) {
        try await Task.sleep(for: .milliseconds(2))
      }
    }
    await engine.stop()
    let stored = try files()
    #expect(stored.reduce(0) { $0 + $1.reader.byteCount } <= limit)
    #expect(engine.currentMetrics.diskBytes <= limit)
    // Every end has its beginning.
    for file in stored where file.trailer.parent != 0 {
      #expect(stored.contains { $0.trailer.identity == file.trailer.parent })
    }
    let last = try model.encode(.raw(asker.text(14, length: 500)))
    #expect(stored.contains { $0.trailer.tokens.starts(with: last) })
    // Nothing larger than all is begun.
    let small = try Engine(model: model, options: options(diskBytes: 10_000))
    #expect(try files().isEmpty)
    _ = try await ask(small, last)
    await small.stop()
    #expect(try files().isEmpty)
  }

  @Test func `a file says what computing a token took, heads that were looked at left out`()
    async throws
  {
    let engine = try Engine(model: model, options: options())
    let prompt = try prompt(15)
    for layer in 0..<2 {
      var request = AnswerRequest(prompt: prompt)
      request.observedHead = ObservedHead(layer: layer, head: 0, cells: 8)
      for try await _ in try engine.submit(request) {}
    }
    _ = try await ask(engine, prompt)
    await engine.stop()
    let metrics = engine.currentMetrics
    #expect(metrics.computedTokens == prompt.count)
    #expect(
      try files().map(\.trailer.secondsPerToken)
        == [metrics.prefillSeconds / Double(prompt.count)])
  }

  @Test func `an engine that stops does not wait for a disk that hangs, and keeps what is whole`()
    async throws
  {
    let isFree = Monitor(false)
    defer { isFree.withLock { $0 = true } }
    let notices = Mutex<[String]>([])
    var hanging = options()
    hanging.notice = { notice in notices.withLock { $0.append(notice) } }
    let path = directory.path("cache")
    hanging.disk?.willWrite = {
      let names = (try? WholeFile.names(inDirectory: path)) ?? []
      if names.contains(where: { $0.hasSuffix(".keys") }) { isFree.wait { $0 ? () : nil } }
    }
    let prompts = [try prompt(16), try prompt(17)]
    let engine = try Engine(model: model, options: hanging)
    _ = try await ask(engine, prompts[0])
    while try files().isEmpty { try await Task.sleep(for: .milliseconds(2)) }
    _ = try await ask(engine, prompts[1])
    let start = ContinuousClock.now
    await engine.stop(within: 0, writingFor: 0.1)
    #expect(ContinuousClock.now - start < .seconds(5))
    #expect(try files().count == 1)
    let told = notices.withLock { $0 }
    #expect(told.count == 1 && told[0].hasPrefix(path + ": the time to stop came before"))
    // Its thread may still write.
    #expect(throws: FileError.self) { try Engine(model: model, options: options()) }

    isFree.withLock { $0 = true }
    var opened: Engine?
    for _ in 0..<2000 where opened == nil {
      opened = try? Engine(model: model, options: options())
      try await Task.sleep(for: .milliseconds(1))
    }
    let restarted = try #require(opened)
    #expect(try WholeFile.names(inDirectory: path).count == 2)
    for (prompt, isCached) in zip(prompts, [true, false]) {
      let found = try await ask(restarted, prompt)
      #expect(try found.text == asker.single(prompt, tokens: 4))
      #expect((found.cached > 1000) == isCached)
    }
    await restarted.stop()
  }

  @Test func `a disk that fails costs the prefix alone, and is told once`() async throws {
    var options = options(tokens: TinyCheckpoint.context + 500)
    let notices = Mutex<[String]>([])
    options.notice = { notice in notices.withLock { $0.append(notice) } }
    let engine = try Engine(model: model, options: options)
    // No file can be made in it.
    WholeFile.remove(directory.path("cache") + "/lock")
    #expect(rmdir(directory.path("cache")) == 0)
    for number in 0..<4 {
      let prompt = try prompt(number)
      #expect(try await ask(engine, prompt).text == asker.single(prompt, tokens: 4))
    }
    await engine.stop()
    #expect(engine.currentMetrics.diskFailures >= 1)
    let told = notices.withLock { $0 }
    #expect(told.count == 1 && told[0].hasPrefix(directory.path("cache") + ": "))
    #expect(!told[0].contains("\n"))
  }
}
