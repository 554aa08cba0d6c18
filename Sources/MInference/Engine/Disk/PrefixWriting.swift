import Compute
package import Transformers

/// A segment that is being written: between turns of the engine blocks of it are copied to staging memory, from
/// where a thread writes them.
///
/// Where the keys and values are is looked up in the tree each time, as it may change meanwhile. A sequence
/// that loses its end while it is written is written up to there. The engine's thread alone uses it.
package final class PrefixWriting {
  package enum Progress {
    /// Blocks were copied.
    case advanced
    /// The disk, or another use of the keys and values, has to come to an end first.
    case waiting
    /// The file has its name.
    case written
    /// What was to be written is not in memory any more.
    case lost
    /// A prompt has been read for long in a cache that is needed.
    case inUse
    case failed(reason: String)
  }

  package let plan: Plan
  package let path: String
  private let writer: SegmentWriter
  private let transformer: Transformer
  private let secondsPerToken: Double
  /// The tokens of which keys and values are still to be had, and one that no sequence has.
  private var wanted: [Int32]
  private var factors: [Float] = []
  private var nextBlock = 0
  private var isFinishing = false
  /// Whether the owner was told so.
  private var isWritten = false
  private var lastAdvance = ContinuousClock.now
  /// Whether keys and values could not be had when they were wanted.
  private var isInUse = false

  /// Ids are not negative.
  private static let noToken: Int32 = -1
  private let patience: Double

  /// - Parameters:
  ///   - secondsPerToken: What reading prompts takes; 0: not known.
  ///   - wake: Called on the writing thread where the disk has taken something after ``advance(_:until:)`` had
  ///     to wait, and at the end.
  /// - Throws: ``LanguageModelError/noThread(reason:)``.
  package init(
    _ plan: Plan, in directory: PrefixDirectory, transformer: Transformer,
    secondsPerToken: Double = 0, wake: @escaping @Sendable () -> Void
  ) throws {
    self.plan = plan
    self.transformer = transformer
    self.secondsPerToken = secondsPerToken
    patience = directory.options.patienceSeconds
    path = directory.newPath(key: plan.key)
    wanted = plan.tokens + [Self.noToken]
    writer = try SegmentWriter(
      path: path, layout: plan.layout, pool: directory.writing, lock: directory.lock,
      willWrite: directory.options.willWrite, wake: wake)
  }

  deinit { cancel() }

  /// Gives the writing up, unless ``advance(_:until:)`` has said that the file is written.
  func cancel() {
    if !isWritten { writer.cancel() }
  }

  /// Whether the file can appear no more: nobody writes it.
  var hasEnded: Bool { writer.hasEnded }

  private var end: Int { wanted.count - 1 }

  /// Copies blocks until the disk has enough to do, or until it is time for something else.
  package func advance(_ tree: PrefixTree, until deadline: ContinuousClock.Instant) throws
    -> Progress
  {
    switch writer.outcome {
    case .written:
      isWritten = true
      return .written
    case .failed(let reason): return .failed(reason: reason)
    case nil: break
    }
    if isFinishing { return waiting(true) }
    guard let match = shorten(tree) else { return .lost }
    var sources = Sources(match: match, onlyCache: plan.onlyCache, transformer: transformer)
    var copied = 0
    isInUse = false
    do {
      if nextBlock == 0, plan.layout.factorCount > 0 {
        factors = try (0..<plan.layout.layers).flatMap { try sources.factors(layer: $0) }
      }
      while nextBlock < plan.layout.blockCount {
        guard copied == 0 || ContinuousClock.now < deadline else { break }
        guard let memory = writer.take() else { break }
        let count: Int
        do {
          count = try copyBlock(nextBlock, to: memory, &sources)
        } catch {
          writer.giveBack(memory)
          throw error
        }
        writer.write(memory, byteCount: count, block: nextBlock)
        nextBlock += 1
        copied += 1
      }
      try sources.close()
    } catch TransformerError.cacheInUse {
      // A prompt is being read in it.
      isInUse = true
    }
    if nextBlock == plan.layout.blockCount {
      isFinishing = true
      writer.finish(trailer)
      copied += 1
    }
    return waiting(copied == 0)
  }

  private func waiting(_ isWaiting: Bool) -> Progress {
    let now = ContinuousClock.now
    if !isWaiting {
      lastAdvance = now
      return .advanced
    }
    guard (now - lastAdvance).inSeconds >= patience else { return .waiting }
    return isInUse ? .inUse : .failed(reason: "it took nothing for \(patience) seconds")
  }

  /// What the tree has of the sequence now; nil where too little is left.
  private func shorten(_ tree: PrefixTree) -> PrefixMatch? {
    guard
      let match = tree.find(
        wanted, attention: plan.attention, hasLongFactors: plan.hasLongFactors),
      match.common > plan.start
    else { return nil }
    if let cache = plan.onlyCache, match.nodes.last?.rows?.cache !== cache { return nil }
    if match.common < end {
      // Half of a segment is worth its file.
      guard 2 * (match.common - plan.start) >= plan.tokens.count - plan.start else { return nil }
      wanted = Array(wanted[..<match.common]) + [Self.noToken]
    }
    return match
  }

  private func copyBlock(
    _ index: Int, to memory: any StagingMemory, _ sources: inout Sources
  ) throws -> Int {
    let layout = plan.layout
    let positions = layout.positions(ofBlock: index)
    let block = KeyValueBlock(
      memory: memory, extents: layout.extents, positions: positions.count)
    let absolute = plan.start + positions.lowerBound..<plan.start + positions.upperBound
    if absolute.upperBound > end {
      // What was there before belongs to somebody else.
      UnsafeMutableRawBufferPointer(start: memory.start, count: block.byteCount)
        .initializeMemory(as: UInt8.self, repeating: 0)
    }
    try sources.copy(absolute.clamped(to: 0..<end), layer: layout.layer(ofBlock: index), to: block)
    try memory.wait()
    return block.byteCount
  }

  private var trailer: SegmentTrailer {
    let tokens = Array(plan.tokens[..<end])
    return SegmentTrailer(
      key: plan.key, identity: PrefixDirectory.identity(of: tokens, start: plan.start),
      parent: plan.parent?.identity ?? 0, start: plan.start,
      sequenceLength: plan.sequenceLength, secondsPerToken: secondsPerToken,
      tokens: Array(tokens[plan.start...]),
      factors: factors, checksums: [])
  }

  /// Where the positions of a sequence are, with the layer that is open.
  private struct Sources {
    let match: PrefixMatch
    let onlyCache: KeyValueCache?
    let transformer: Transformer
    private var layer = -1
    /// By the identity of their caches.
    private var transfers: [ObjectIdentifier: any KeyValueTransfer] = [:]

    init(match: PrefixMatch, onlyCache: KeyValueCache?, transformer: Transformer) {
      self.match = match
      self.onlyCache = onlyCache
      self.transformer = transformer
    }

    mutating func copy(_ positions: Range<Int>, layer: Int, to block: KeyValueBlock) throws {
      if let onlyCache {
        return try transfer(onlyCache, layer: layer).save(positions, to: block, at: 0)
      }
      for node in match.nodes {
        let own = positions.clamped(to: node.start..<node.end)
        guard !own.isEmpty, let rows = node.rows else { continue }
        let offset = rows.rows.lowerBound - node.start
        try transfer(rows.cache, layer: layer).save(
          own.lowerBound + offset..<own.upperBound + offset, to: block,
          at: own.lowerBound - positions.lowerBound)
      }
    }

    mutating func factors(layer: Int) throws -> [Float] {
      try onlyCache.map { try transfer($0, layer: layer).factors() } ?? []
    }

    private mutating func transfer(
      _ cache: KeyValueCache, layer wanted: Int
    ) throws -> any KeyValueTransfer {
      if layer != wanted { try close() }
      layer = wanted
      if let open = transfers[ObjectIdentifier(cache)] { return open }
      let transfer = try transformer.makeTransfer(
        layer: wanted, of: cache, count: cache.count, for: .saving)
      transfers[ObjectIdentifier(cache)] = transfer
      return transfer
    }

    mutating func close() throws {
      defer { transfers = [:] }
      for transfer in transfers.values { try transfer.close() }
    }
  }
}

extension PrefixWriting {
  /// What is to be written.
  package struct Plan {
    /// The sequence up to the segment's end.
    package let tokens: [Int32]
    /// What is on disk of it: up to the segment's first position.
    let match: PrefixDirectory.Match
    let attention: AttentionOptions
    let hasLongFactors: Bool
    let key: String
    package let layout: SegmentLayout
    let sequenceLength: Int
    /// Of no further use once this is there.
    let superseded: [PrefixDirectory.Entry]
    /// Where all of it has to be; nil: its positions may be in several caches.
    let onlyCache: KeyValueCache?

    package var start: Int { match.end }
    package var parent: PrefixDirectory.Entry? { match.last }

    /// The first run of tokens of a sequence that is to be written, for which space is made.
    ///
    /// - Returns: nil where nothing is worth it, or nothing fits.
    package init?(
      _ leaf: PrefixNode, of tree: PrefixTree, in directory: PrefixDirectory,
      transformer: Transformer
    ) {
      guard let reading = tree.reading(of: leaf),
        let key = directory.key(
          of: reading.attention, hasLongFactors: reading.hasLongFactors),
        let cache = leaf.storage?.cache, cache.byteCount > 0,
        SegmentLayout.supports(cache.type), let sequenceLength = cache.sequenceLength
      else { return nil }
      let path = leaf.path
      let tokens = path.flatMap(\.tokens)
      let least = directory.leastSegment
      var match = directory.match(tokens, key: key, type: cache.type)
      directory.touch(match)
      var superseded: [PrefixDirectory.Entry] = []
      var end = tokens.count
      let canCopy = transformer.canCopyRows(of: cache)
      if canCopy {
        // A few tokens in common are no reason to depend on another sequence's file.
        if match.end < least { match.parts = [] }
        guard tokens.count - match.end >= least else { return nil }
        end = path.map(\.end).first { $0 - match.end >= least } ?? end
        if tokens.count - end < least { end = tokens.count }
      } else {
        // Numbers with factors of their sequence do not go on behind those of another.
        guard tokens.count - match.end > max(least, tokens.count / 8) else { return nil }
        superseded = match.parts.filter { $0.positions.count == $0.entry.tokens.count }
          .map(\.entry)
        match.parts = []
      }
      let layout = SegmentLayout(
        cache.blockExtents, layers: cache.layers.count, positions: end - match.end,
        blockBytes: directory.options.blockBytes)
      let bytes =
        layout.blocksEnd + SegmentTrailer.byteCount(tokens: layout.positions, layout)
      guard layout.blockByteCount <= directory.writing.byteCount,
        directory.makeSpace(for: bytes, behind: match)
      else { return nil }
      self.tokens = Array(tokens[..<end])
      self.match = match
      attention = reading.attention
      hasLongFactors = reading.hasLongFactors
      self.key = key
      self.layout = layout
      self.sequenceLength = sequenceLength
      self.superseded = superseded
      onlyCache = canCopy ? nil : cache
    }
  }
}
