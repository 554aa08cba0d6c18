import Compute
package import Transformers

/// Segments that are being read back into a cache, block by block between turns of the engine, while threads
/// read ahead.
///
/// What has been read of a segment counts once all of it is there. The engine's thread alone uses it.
package final class PrefixRestoring {
  package enum Progress {
    /// A block was taken.
    case advanced
    /// The disk has not brought the next block yet.
    case waiting
    case finished
    /// A segment is damaged: what is before it is there.
    case damaged(PrefixDirectory.Entry)
    /// The disk takes longer than it would take to compute what it has: what has come as a whole is there.
    /// Dead: it has brought nothing for as long as anybody waits.
    case slow(isDead: Bool)
  }

  /// A segment, and the positions that are taken from it.
  private struct Part {
    let entry: PrefixDirectory.Entry
    let file: SegmentFile
    let positions: Range<Int>
  }

  /// A block that is read.
  private struct Block {
    let part: Int
    /// Its index in the segment.
    let index: Int
    /// Whether it is the layer's last of its part.
    let endsLayer: Bool
  }

  private let cache: KeyValueCache
  private let transformer: Transformer
  private let patience: Double
  private var parts: [Part] = []
  private var blocks: [Block] = []
  private var next = 0
  /// A segment whose file is not what it was.
  private var missing: PrefixDirectory.Entry?
  private var reader: BlockReader?
  private var transfer: (any KeyValueTransfer)?
  /// Memory whose copies may not be over, in the order in which they were begun.
  private var copying: [any StagingMemory] = []
  /// What computing the positions would take; infinity: not known.
  private var computingSeconds = 0.0
  /// Since when the next block is waited for; nil where it is not.
  private var waitingSince: ContinuousClock.Instant?
  /// Seconds for which blocks were waited for that have come.
  private var waitedSeconds = 0.0
  private let start = ContinuousClock.now
  /// Bytes that have come, and seconds since the beginning.
  private(set) var byteCount = 0
  var seconds: Double { (ContinuousClock.now - start).inSeconds }
  /// Positions that are there at the end, as far as is known.
  package private(set) var end: Int

  /// Copies that may be under way at once: so many that a device always has one, however late threads wake.
  static let mostCopies = 16
  /// Seconds that say nothing of a disk: threads may have to wait for processors.
  private static let leastWait = 0.1

  /// - Parameters:
  ///   - match: What is to be read; positions that the cache has already are left out.
  ///   - cache: Begins with the same tokens.
  /// - Throws: ``LanguageModelError/noThread(reason:)``.
  package init(
    _ match: PrefixDirectory.Match, into cache: KeyValueCache, transformer: Transformer,
    from directory: PrefixDirectory
  ) throws {
    self.cache = cache
    self.transformer = transformer
    patience = directory.options.patienceSeconds
    end = match.end
    var requests: [BlockReader.Request] = []
    for (entry, positions) in match.parts where positions.upperBound > cache.count {
      let wanted = max(positions.lowerBound, cache.count)..<positions.upperBound
      guard let file = SegmentFile(path: entry.path), file.trailer.identity == entry.identity,
        file.layout.extents == cache.blockExtents, file.layout.layers == cache.layers.count,
        file.layout.blockByteCount <= directory.reading.byteCount
      else {
        missing = entry
        break
      }
      let layout = file.layout
      for index in 0..<layout.blockCount {
        let block = layout.positions(ofBlock: index)
        let absolute = entry.start + block.lowerBound..<entry.start + block.upperBound
        guard !absolute.clamped(to: wanted).isEmpty else { continue }
        requests.append(
          BlockReader.Request(
            file: file.reader, bytes: layout.byteRange(ofBlock: index),
            checksum: file.trailer.checksums[index], seed: SegmentLayout.seed(ofBlock: index)))
        blocks.append(
          Block(
            part: parts.count, index: index, endsLayer: absolute.upperBound >= wanted.upperBound))
      }
      parts.append(Part(entry: entry, file: file, positions: wanted))
      let seconds = entry.secondsPerToken
      computingSeconds += seconds > 0 ? Double(wanted.count) * seconds : .infinity
    }
    if !requests.isEmpty {
      if cache.count == 0 {
        cache.beginRestoring(sequenceLength: parts[0].file.trailer.sequenceLength)
      }
      reader = try BlockReader(
        requests, threads: directory.readingThreads, pool: directory.reading)
    }
  }

  deinit {
    // Nobody else may write to the memory before the device has read it.
    for memory in copying { try? memory.wait() }
    for memory in copying { reader?.giveBack(memory) }
    reader?.end()
  }

  /// Whether something can be done without waiting for the disk.
  package var isReady: Bool { next == blocks.count || reader?.isReady == true }

  /// Takes the next block.
  ///
  /// - Parameter seconds: How long to wait for it.
  /// - Throws: `ComputeError`; what is behind the cache's count is undefined then.
  package func advance(waiting seconds: Double) throws -> Progress {
    guard next < blocks.count, let reader else {
      end = min(end, cache.count)
      return missing.map(Progress.damaged) ?? .finished
    }
    let block = blocks[next]
    let part = parts[block.part]
    // Threads may be without memory.
    if !reader.isReady, !copying.isEmpty { try giveBackOldest(to: reader) }
    switch reader.next(waiting: seconds) {
    case .waiting:
      let since = waitingSince ?? .now
      waitingSince = since
      let seconds = (.now - since).inSeconds
      if seconds >= patience { return .slow(isDead: true) }
      return isSlow(waiting: seconds) ? .slow(isDead: false) : .waiting
    case .damaged:
      transfer = nil
      return .damaged(part.entry)
    case .block(let memory):
      copying.append(memory)
      next += 1
      if let since = waitingSince { waitedSeconds += (.now - since).inSeconds }
      waitingSince = nil
      try take(memory, block, part)
      if copying.count > Self.mostCopies { try giveBackOldest(to: reader) }
      return .advanced
    }
  }

  private func giveBackOldest(to reader: BlockReader) throws {
    let oldest = copying.removeFirst()
    defer { reader.giveBack(oldest) }
    try oldest.wait()
  }

  /// Whether computing is the better choice, as far as can be told from how long blocks were waited for.
  private func isSlow(waiting seconds: Double) -> Bool {
    let limit = max(computingSeconds, Self.leastWait)
    let waited = waitedSeconds + seconds
    // Of a block or two too little is known.
    guard next > 0, waited > limit / 4 else { return waited > limit }
    return waited * Double(blocks.count - next) / Double(next) > limit
  }

  private func take(_ memory: any StagingMemory, _ block: Block, _ part: Part) throws {
    let layout = part.file.layout
    let layer = layout.layer(ofBlock: block.index)
    let open = try transfer ?? openLayer(layer, part)
    transfer = open
    let extent = layout.positions(ofBlock: block.index)
    byteCount += extent.count * layout.extents.positionByteCount
    let first = part.entry.start + extent.lowerBound
    let positions = (first..<part.entry.start + extent.upperBound).clamped(to: part.positions)
    try open.restore(
      positions,
      from: KeyValueBlock(memory: memory, extents: layout.extents, positions: extent.count),
      at: positions.lowerBound - first)
    guard block.endsLayer else { return }
    transfer = nil
    try open.close()
    if layer == layout.layers - 1 { cache.finishRestoring(count: part.positions.upperBound) }
  }

  private func openLayer(_ layer: Int, _ part: Part) throws -> any KeyValueTransfer {
    let opened = try transformer.makeTransfer(
      layer: cache.layers.lowerBound + layer, of: cache, count: part.positions.upperBound,
      for: .restoring)
    let factors = part.file.trailer.factors
    if !factors.isEmpty {
      let count = factors.count / part.file.layout.layers
      try opened.setFactors(Array(factors[layer * count..<(layer + 1) * count]))
    }
    return opened
  }
}
