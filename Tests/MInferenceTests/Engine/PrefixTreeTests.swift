import MInference
import TemporaryCheckpoints
import Testing
import Transformers

@Suite struct PrefixTreeTests {
  let directory: TemporaryDirectory
  let model: LanguageModel
  let attention = AttentionOptions(mode: .dense)

  init() throws { (directory, model) = try TinyModel.make() }

  /// A cache that has read tokens.
  private func storage(_ tokens: [Int32], capacity: Int = 1024) throws -> PrefixStorage {
    let cache = try model.transformer.makeCache(capacity: capacity)
    _ = try model.transformer.prefill(tokens, cache: cache)
    return PrefixStorage(cache: cache)
  }

  private func ids(_ count: Int, _ seed: Int32) -> [Int32] {
    (0..<Int32(count)).map { ($0 &* 31 &+ seed &* 7) % 200 }
  }

  @Test func `the longest beginning is found, and the prompt's last token is left`() throws {
    let tree = PrefixTree()
    let shared = ids(100, 1)
    let (left, right) = (shared + [201] + ids(50, 2), shared + [202] + ids(30, 3))
    let (first, second) = (try storage(left), try storage(right))
    tree.insert(left, first, attention: attention)
    tree.insert(right, second, attention: attention)
    let cases: [(prompt: [Int32], common: Int)] = [
      (left, left.count - 1), (left + [9], left.count), (right + [9, 9], right.count),
      (shared + [205, 1], 100), (Array(shared[..<40]) + [206, 3], 40), (Array(shared[..<40]), 39),
    ]
    for (prompt, common) in cases {
      #expect(tree.find(prompt, attention: attention)?.common == common)
    }
    #expect(tree.find([210, 1, 2], attention: attention) == nil)
    #expect(tree.find(left, attention: AttentionOptions()) == nil)
    #expect(tree.find(left, attention: attention, hasLongFactors: true) == nil)
    #expect(tree.leafCount == 2)
    #expect(tree.byteCount == first.cache.byteCount + second.cache.byteCount)
    // The shared beginning is the first sequence's, the rest is the second's own.
    let rows = try #require(tree.find(right + [9], attention: attention)).rows
    #expect(rows.map(\.rows) == [0..<100, 100..<131])
    #expect(rows[0].cache === first.cache && rows[1].cache === second.cache)
  }

  @Test func `a sequence that goes on frees the cache that held its beginning`() throws {
    let tree = PrefixTree()
    let tokens = ids(300, 1)
    let first = try storage(Array(tokens[..<200]))
    tree.insert(Array(tokens[..<200]), first, attention: attention)
    let whole = try storage(tokens)
    tree.insert(tokens, whole, attention: attention)
    #expect(tree.byteCount == whole.cache.byteCount && !first.isInTree && whole.isInTree)
    // What the tree has already is not added.
    let again = try storage(Array(tokens[..<250]), capacity: 300)
    tree.insert(Array(tokens[..<250]), again, attention: attention)
    #expect(!again.isInTree || tree.byteCount <= whole.cache.byteCount + again.cache.byteCount)
    #expect(tree.find(tokens + [1], attention: attention)?.common == 300)
  }

  @Test func `a sequence is rewound where nobody else has what lies behind`() throws {
    let tree = PrefixTree()
    let shared = ids(100, 1)
    let first = try storage(shared + [201] + ids(50, 2))
    tree.insert(shared + [201] + ids(50, 2), first, attention: attention)
    let branch = shared + [201] + Array(ids(50, 2)[..<20]) + [203, 4]
    let match = try #require(tree.find(branch, attention: attention))
    #expect(match.common == 121 && match.lostTokens == 30 && tree.canRewind(match))
    // Another conversation that branches off beyond has its beginning there.
    let other = shared + [201] + Array(ids(50, 2)[..<40]) + [204, 5, 6]
    tree.insert(other, try storage(other), attention: attention)
    #expect(!tree.canRewind(try #require(tree.find(branch, attention: attention))))
    let behind = try #require(tree.find(other + [7], attention: attention))
    #expect(tree.canRewind(behind))
    let before = tree.find(shared + [201] + ids(50, 2), attention: attention)?.common
    let rewound = try #require(tree.rewind(behind))
    #expect(rewound.cache.count == other.count && before == 150)
    rewound.isRunning = true
    #expect(!tree.canRewind(try #require(tree.find(other + [7], attention: attention))))
  }

  @Test func `ends go first and the shared beginning last`() throws {
    let tree = PrefixTree()
    let shared = ids(100, 1)
    let tails = [201, 202, 203].map { [Int32($0)] + ids(40, Int32($0)) }
    for tail in tails {
      tree.insert(shared + tail, try storage(shared + tail), attention: attention)
    }
    tree.use(tree.find(shared + tails[0] + [1], attention: attention)?.nodes ?? [])
    var lengths: [Int] = []
    while let oldest = tree.expendable(but: []).first {
      lengths.append(oldest.end)
      let prompts = tails.map { shared + $0 + [1] }
      tree.remove(oldest)
      if lengths.count == 2 {
        #expect(
          prompts.map { tree.find($0, attention: attention)?.common } == [141, 100, 100])
      }
    }
    #expect(lengths == [141, 141, 141, 100])
    #expect(tree.byteCount == 0 && tree.leafCount == 0)
  }

  @Test func `a compacted sequence has the same keys and values`() throws {
    let tree = PrefixTree()
    let transformer = model.transformer
    let shared = ids(400, 1)
    let (left, right) = (shared + [201] + ids(50, 2), shared + [202] + ids(30, 3))
    tree.insert(left, try storage(left), attention: attention)
    tree.insert(right, try storage(right), attention: attention)
    var compactions = 0
    while let compaction = tree.compaction(of: transformer.canCopyRows) {
      let (storage, positions) = (compaction.storage, compaction.positions)
      let cache = try transformer.makeCache(capacity: positions.count)
      let first = storage.firstPosition
      try transformer.append(
        [
          CachedRows(
            storage.cache, rows: positions.lowerBound - first..<positions.upperBound - first)
        ],
        to: cache)
      tree.replace(
        storage, by: PrefixStorage(cache: cache, firstPosition: positions.lowerBound))
      compactions += 1
    }
    let bytesPerToken = 2 * TinyCheckpoint.layers * 64 * 4
    #expect(compactions == 2 && tree.byteCount == (451 + 31) * bytesPerToken)
    // Put together again, the sequence goes on as it would have.
    for tokens in [left, right] {
      let match = try #require(tree.find(tokens + [9], attention: attention))
      let cache = try transformer.makeCache(capacity: 600)
      try transformer.append(match.rows, to: cache)
      #expect(cache.count == tokens.count)
      let expected = try storage(tokens).cache
      #expect(
        try transformer.decode(9, cache: cache) == transformer.decode(9, cache: expected))
    }
  }
}
