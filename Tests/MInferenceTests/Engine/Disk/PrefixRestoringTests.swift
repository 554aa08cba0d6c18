import Compute
import Files
import MInference
import Synchronization
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

@Suite struct PrefixRestoringTests: PrefixTesting {
  let directory: TemporaryDirectory
  let model: LanguageModel
  let tree = PrefixTree()

  init() throws { (directory, model) = try TinyModel.make() }

  /// Writes a sequence.
  ///
  /// - Parameter secondsPerToken: What computing took; 0: not known.
  private func store(
    _ tokens: [Int32], in prefixes: PrefixDirectory, secondsPerToken: Double = 0
  ) throws {
    try insert(tokens)
    let writing = try #require(
      try begin(tokens, in: prefixes, secondsPerToken: secondsPerToken))
    #expect(try advance(writing) && prefixes.add(path: writing.path, behind: nil) == .added)
  }

  private func restoring(
    _ tokens: [Int32], into cache: KeyValueCache, from prefixes: PrefixDirectory
  ) throws -> PrefixRestoring {
    let match = try #require(prefixes.find(tokens + [9], attention: attention, longerThan: 0))
    return try PrefixRestoring(
      match, into: cache, transformer: model.transformer, from: prefixes)
  }

  /// Staging memory of a device whose copies go on until somebody waits for them.
  private final class LateMemory: StagingMemory, @unchecked Sendable {
    // Unchecked for the thread's name, which does not change.
    private let memory: any StagingMemory
    private let owner = pthread_self()
    private let state = Mutex((isCopying: false, overwritten: 0))

    init(_ memory: any StagingMemory) { self.memory = memory }

    var byteCount: Int { memory.byteCount }

    /// The owner's thread copies from it, the others read into it.
    var start: UnsafeMutableRawPointer {
      let isOwner = pthread_equal(pthread_self(), owner) != 0
      state.withLock { state in
        if isOwner { state.isCopying = true } else if state.isCopying { state.overwritten += 1 }
      }
      return memory.start
    }

    func wait() { state.withLock { $0.isCopying = false } }

    /// How many times bytes were read into it while they were still being copied from it.
    var overwritten: Int { state.withLock(\.overwritten) }
  }

  @Test(arguments: [1, 2, 5, 30])
  func `a prefix comes back through as few buffers as there are, each read once its copy is over`(
    buffers: Int
  ) throws {
    let prefixes = try open()
    let tokens = ids(300, 14)
    try store(tokens, in: prefixes)
    #expect(try files().map(\.layout.blockCount) == [2 * 38])
    let memory = prefixes.reading.takeAll() + prefixes.writing.takeAll()
    let late = memory.prefix(buffers).map(LateMemory.init)
    late.forEach(prefixes.reading.giveBack)
    try expectRestored(tokens, from: prefixes)
    #expect(late.allSatisfy { $0.overwritten == 0 })
    // Threads give back what they have in hand.
    var count = 0
    for _ in 0..<2000 where count < late.count {
      count += prefixes.reading.takeAll().count
      usleep(1000)
    }
    #expect(count == late.count)
  }

  @Test func `a disk that is slower than computing is not waited for`() throws {
    let prefixes = try open()
    let tokens = ids(300, 8)
    try store(tokens, in: prefixes, secondsPerToken: 1e-4)
    // Threads have nothing to read into.
    let memory = prefixes.reading.takeAll()
    let cache = try model.transformer.makeCache(capacity: 400)
    let restoring = try restoring(tokens, into: cache, from: prefixes)
    let start = ContinuousClock.now
    loop: while true {
      switch try restoring.advance(waiting: 0.002) {
      case .waiting: #expect(cache.count == 0)
      case .slow: break loop
      case .advanced, .finished, .damaged:
        Issue.record("there is no memory to read into")
        return
      }
    }
    // What computing the tokens would take.
    #expect(ContinuousClock.now - start >= .milliseconds(30) && cache.count == 0)
    memory.forEach(prefixes.reading.giveBack)
  }

  @Test func `a disk that gives nothing is given up`() throws {
    let prefixes = try open(patience: 0.02)
    let tokens = ids(300, 9)
    try store(tokens, in: prefixes)
    let memory = prefixes.reading.takeAll()
    let restoring = try restoring(
      tokens, into: try model.transformer.makeCache(capacity: 400), from: prefixes)
    // Nothing is known of what computing takes.
    while case .waiting = try restoring.advance(waiting: 0.002) {}
    guard case .slow(isDead: _) = try restoring.advance(waiting: 0) else {
      Issue.record("a disk that gives nothing is waited for")
      return
    }
    memory.forEach(prefixes.reading.giveBack)
  }
}
