import Compute
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

@Suite struct PrefixWritingTests: PrefixTesting {
  let directory: TemporaryDirectory
  let model: LanguageModel
  let tree = PrefixTree()

  init() throws { (directory, model) = try TinyModel.make() }

  @Test func `a writing goes on where it was, whatever becomes of the tree meanwhile`() throws {
    let prefixes = try open()
    let tokens = ids(300, 1)
    let first = try insert(tokens)
    let writing = try #require(try begin(tokens, in: prefixes))
    #expect(try !advance(writing, times: 10))
    // Another conversation branches off, and the cache is compacted.
    try insert(Array(tokens[..<200]) + [201, 5, 6])
    #expect(try !advance(writing, times: 10))
    let cache = try model.transformer.makeCache(capacity: 300)
    try model.transformer.append([CachedRows(first.cache, rows: 0..<300)], to: cache)
    tree.replace(first, by: PrefixStorage(cache: cache))
    #expect(try advance(writing))
    #expect(prefixes.add(path: writing.path, behind: nil) == .added)
    #expect(try files().map(\.trailer.tokens) == [tokens])
    try expectRestored(tokens, from: prefixes)
    #expect(try begin(tokens, in: prefixes) == nil)
  }

  @Test func `a sequence that loses its end while it is written is written up to there`() throws {
    let prefixes = try open()
    let tokens = ids(300, 2)
    try insert(tokens)
    let writing = try #require(try begin(tokens, in: prefixes))
    #expect(try !advance(writing, times: 30))
    let match = try #require(
      tree.find(Array(tokens[..<270]) + [203, 1], attention: attention))
    _ = try #require(tree.rewind(match))
    #expect(try advance(writing))
    #expect(prefixes.add(path: writing.path, behind: nil) == .added)
    #expect(try files().map(\.trailer.tokens) == [Array(tokens[..<270])])
    try expectRestored(Array(tokens[..<270]), of: tokens, from: prefixes)
  }

  @Test func `a beginning that sequences share is stored once`() throws {
    let prefixes = try open()
    let shared = ids(200, 3)
    let sequences = [201, 202].map { shared + [Int32($0)] + ids(99, Int32($0)) }
    for tokens in sequences { try insert(tokens) }
    // The first is written in two runs; of the second the end is left.
    for tokens in [sequences[0], sequences[0], sequences[1]] {
      let writing = try #require(try begin(tokens, in: prefixes))
      #expect(try advance(writing))
      #expect(prefixes.add(path: writing.path, behind: writing.plan.parent) == .added)
    }
    #expect(try begin(sequences[1], in: prefixes) == nil)
    let files = try files()
    #expect(files.map(\.trailer.start) == [0, 200, 200])
    #expect(files.map(\.trailer.tokens.count) == [200, 100, 100])
    #expect(files.dropFirst().allSatisfy { $0.trailer.parent == files[0].trailer.identity })
    // Also behind what is in memory, in the middle of a block or of the second run.
    for (tokens, known) in zip(sequences + sequences, [0, 0, 90, 230]) {
      try expectRestored(tokens, behind: known, from: prefixes)
    }
    // One that branches off within a file goes on in its middle.
    let third = Array(shared[..<150]) + [204] + ids(99, 4)
    try insert(third)
    let writing = try #require(try begin(third, in: prefixes))
    #expect(writing.plan.start == 150)
    #expect(try advance(writing))
    #expect(prefixes.add(path: writing.path, behind: writing.plan.parent) == .added)
    for tokens in sequences + [third] { try expectRestored(tokens, from: prefixes) }
  }

  @Test func `a writing that is given up leaves no file, and neither does a killed one`() throws {
    var prefixes: PrefixDirectory? = try open()
    let tokens = ids(300, 5)
    try insert(tokens)
    do {
      let writing = try #require(try prefixes.flatMap { try begin(tokens, in: $0) })
      #expect(try !advance(writing, times: 5))
    }
    try expectEmpty()
    let path = directory.path("cache")
    // What a killed process leaves: a draft, and a file of an older version.
    prefixes = nil
    try directory.write([1, 2, 3], to: "cache/.a.keys.1x.draft")
    try directory.write(Array("minfkeys".utf8) + [2, 0, 0, 0], to: "cache/old.keys")
    prefixes = try open()
    #expect(try WholeFile.names(inDirectory: path) == ["lock"])
    #expect(prefixes?.byteCount == 0)
  }

  @Test(arguments: [false, true])
  func `a directory stays locked while a writing that was given up hangs`(atEnd: Bool) throws {
    /// Calls of the disk; it hangs in one of them until it is let go.
    struct Disk {
      var calls = 0
      var hangingCall = 1
      var isFree = false
    }
    let disk = Monitor(Disk())
    var prefixes: PrefixDirectory? = try open(willWrite: {
      let hangs = disk.withLock { disk in
        disk.calls += 1
        return disk.calls == disk.hangingCall
      }
      if hangs { disk.wait { $0.isFree ? () : nil } }
    })
    defer { disk.withLock { $0.isFree = true } }
    let tokens = ids(300, 12)
    try insert(tokens)
    do {
      let writing = try #require(try prefixes.flatMap { try begin(tokens, in: $0) })
      // In the first block, or when the file is about to take its name.
      let call = atEnd ? writing.plan.layout.blockCount + 1 : 1
      disk.withLock { $0.hangingCall = call }
      while disk.withLock({ $0.calls < call }) {
        guard case .advanced = try writing.advance(tree, until: .now) else {
          sched_yield()
          continue
        }
      }
    }
    prefixes = nil
    #expect(throws: FileError.self) { try open() }
    disk.withLock { $0.isFree = true }
    try expectEmpty()
    for _ in 0..<2000 where prefixes == nil {
      prefixes = try? open()
      usleep(1000)
    }
    #expect(prefixes?.byteCount == 0)
  }

  @Test func `a file that nobody was told of goes with its writing`() throws {
    let prefixes = try open()
    let tokens = ids(300, 13)
    try insert(tokens)
    do {
      let writing = try #require(try begin(tokens, in: prefixes))
      try #expect(!advance(writing, times: writing.plan.layout.blockCount))
      // Perhaps the file takes its name while the writing is given up.
      for _ in 0..<2000 where try files().isEmpty { usleep(1000) }
      #expect(try files().count == 1)
    }
    try expectEmpty()
    #expect(prefixes.byteCount == 0)
  }

  @Test func `a disk that takes nothing is given up`() throws {
    let prefixes = try open(patience: 0.02)
    let tokens = ids(300, 9)
    try insert(tokens)
    let memory = prefixes.writing.takeAll()
    let stuck = try #require(try begin(tokens, in: prefixes))
    var isWaiting = true
    while isWaiting {
      switch try stuck.advance(tree, until: .now) {
      case .waiting: usleep(1000)
      case .failed(let reason):
        #expect(reason == "it took nothing for 0.02 seconds")
        isWaiting = false
      case .advanced, .written, .lost, .inUse:
        Issue.record("there is no memory to write from")
        return
      }
    }
    memory.forEach(prefixes.writing.giveBack)
    let writing = try #require(try begin(tokens, in: prefixes))
    #expect(try advance(writing) && prefixes.add(path: writing.path, behind: nil) == .added)
  }

  @Test func `keys and values that are in use are waited for, and not for ever`() throws {
    let prefixes = try open(patience: 0.05)
    let tokens = ids(300, 10)
    let storage = try insert(tokens)
    let writing = try #require(try begin(tokens, in: prefixes))
    #expect(try !advance(writing, times: 5))
    // Somebody reads in the cache.
    var other: (any KeyValueTransfer)? = try model.transformer.makeTransfer(
      layer: 1, of: storage.cache, count: 300, for: .saving)
    guard case .waiting = try writing.advance(tree, until: .now) else {
      Issue.record("a cache was used twice")
      return
    }
    try other?.close()
    other = nil
    #expect(try advance(writing) && prefixes.add(path: writing.path, behind: nil) == .added)
    try expectRestored(tokens, from: prefixes)

    let next = ids(300, 11)
    let second = try insert(next)
    let stuck = try #require(try begin(next, in: prefixes))
    other = try model.transformer.makeTransfer(
      layer: 0, of: second.cache, count: 300, for: .saving)
    while case .waiting = try stuck.advance(tree, until: .now) { usleep(1000) }
    guard case .inUse = try stuck.advance(tree, until: .now) else {
      Issue.record("a cache is waited for without end")
      return
    }
    try other?.close()
  }

  @Test func `files whose beginning has gone are removed when the directory is opened`() throws {
    var prefixes: PrefixDirectory? = try open()
    let tokens = ids(200, 6) + [201] + ids(99, 7)
    try insert(ids(200, 6))
    try insert(tokens)
    for _ in 0..<2 {
      let opened = try #require(prefixes)
      let writing = try #require(try begin(tokens, in: opened))
      #expect(try advance(writing))
      #expect(opened.add(path: writing.path, behind: writing.plan.parent) == .added)
    }
    let files = try files()
    #expect(files.count == 2)
    prefixes = nil
    WholeFile.remove(files[0].reader.path)
    prefixes = try open()
    #expect(try self.files().isEmpty && prefixes?.byteCount == 0)
  }
}
