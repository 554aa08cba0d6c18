import Files
import MInference
import TemporaryCheckpoints
import Testing
import Transformers

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What tests of writing prefixes and of reading them back share.
protocol PrefixTesting {
  var directory: TemporaryDirectory { get }
  var model: LanguageModel { get }
  var tree: PrefixTree { get }
}

extension PrefixTesting {
  var attention: AttentionOptions { AttentionOptions(mode: .dense) }

  func ids(_ count: Int, _ seed: Int32) -> [Int32] {
    (0..<Int32(count)).map { ($0 &* 31 &+ seed &* 7) % 200 }
  }

  @discardableResult
  func insert(_ tokens: [Int32]) throws -> PrefixStorage {
    let cache = try model.transformer.makeCache(capacity: tokens.count + 50)
    _ = try model.transformer.prefill(tokens, cache: cache)
    let storage = PrefixStorage(cache: cache)
    tree.insert(tokens, storage, attention: attention)
    return storage
  }

  func open(
    patience: Double = 10, willWrite: @escaping @Sendable () -> Void = {}
  ) throws -> PrefixDirectory {
    var options = PrefixDirectory.Options(path: directory.path("cache"), leastTokens: 128)
    options.blockBytes = 8 * 512
    options.patienceSeconds = patience
    options.willWrite = willWrite
    return try PrefixDirectory(options, model: model)
  }

  func begin(
    _ tokens: [Int32], in prefixes: PrefixDirectory, secondsPerToken: Double = 0
  ) throws -> PrefixWriting? {
    let match = try #require(tree.find(tokens + [250], attention: attention))
    let leaf = try #require(match.nodes.last)
    let plan = PrefixWriting.Plan(leaf, of: tree, in: prefixes, transformer: model.transformer)
    return try plan.map {
      try PrefixWriting(
        $0, in: prefixes, transformer: model.transformer, secondsPerToken: secondsPerToken,
        wake: {})
    }
  }

  /// Advances by a block at a time, at most so many times.
  ///
  /// - Returns: Whether the file is written.
  func advance(_ writing: PrefixWriting, times: Int = .max) throws -> Bool {
    var count = 0
    while count < times {
      switch try writing.advance(tree, until: .now) {
      case .advanced: count += 1
      case .waiting: sched_yield()
      case .written: return true
      case .lost, .inUse, .failed:
        Issue.record("the writing came to nothing")
        return false
      }
    }
    return false
  }

  func files() throws -> [SegmentFile] { try directory.segmentFiles() }

  /// What is on disk goes on as the sequence itself would.
  ///
  /// - Parameters:
  ///   - whole: The sequence as it was read.
  ///   - known: Tokens that are in memory.
  func expectRestored(
    _ tokens: [Int32], of whole: [Int32]? = nil, behind known: Int = 0,
    from prefixes: PrefixDirectory
  ) throws {
    let match = try #require(
      prefixes.find(tokens + [9], attention: attention, longerThan: 0))
    #expect(match.end == tokens.count)
    let transformer = model.transformer
    let (cache, expected) = (
      try transformer.makeCache(capacity: 1000), try transformer.makeCache(capacity: 1000)
    )
    _ = try transformer.prefill(whole ?? tokens, cache: expected)
    expected.truncate(to: tokens.count)
    if known > 0 {
      try transformer.append([CachedRows(expected, rows: 0..<known)], to: cache)
    }
    let restoring = try PrefixRestoring(
      match, into: cache, transformer: transformer, from: prefixes)
    loop: while true {
      switch try restoring.advance(waiting: 1) {
      case .advanced, .waiting: continue
      case .finished: break loop
      case .damaged, .slow:
        Issue.record("a file does not come back")
        return
      }
    }
    #expect(cache.count == tokens.count)
    #expect(try transformer.decode(9, cache: cache) == transformer.decode(9, cache: expected))
  }

  /// Waits until nothing but the lock is in the directory.
  func expectEmpty() throws {
    let path = directory.path("cache")
    for _ in 0..<2000 where try WholeFile.names(inDirectory: path) != ["lock"] { usleep(1000) }
    #expect(try WholeFile.names(inDirectory: path) == ["lock"])
  }
}

extension TemporaryDirectory {
  /// The segments in "cache", beginnings first.
  func segmentFiles() throws -> [SegmentFile] {
    try WholeFile.names(inDirectory: path("cache")).filter { $0.hasSuffix(".keys") }
      .map { try #require(SegmentFile(path: path("cache") + "/" + $0)) }
      .sorted { $0.trailer.start < $1.trailer.start }
  }
}
