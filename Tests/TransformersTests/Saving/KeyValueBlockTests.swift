import Compute
import Testing
import Transformers

struct KeyValueBlockTests {
  /// A transfer that passes on numbers alone.
  private final class Numbers: KeyValueTransfer {
    let base: any KeyValueTransfer
    init(_ base: any KeyValueTransfer) { self.base = base }
    func factors() throws -> [Float] { try base.factors() }
    func setFactors(_ factors: [Float]) throws { try base.setFactors(factors) }
    func rows(at positions: Range<Int>) throws -> (keys: [Float], values: [Float]) {
      try base.rows(at: positions)
    }
    func setRows(at positions: Range<Int>, keys: [Float], values: [Float]) throws {
      try base.setRows(at: positions, keys: keys, values: values)
    }
    func close() throws { try base.close() }
  }

  private static let types: [(TestBackend, DataType)] = [
    (.reference, .float32), (.reference, .bfloat16), (.reference, .float8), (.cpu, .float32),
    (.cpu, .bfloat16),
  ]

  @Test(arguments: types)
  func `rows of a block are those of the cache, and go into another one bit for bit`(
    backend: TestBackend, type: DataType
  ) throws {
    let checkpoint = try TemporaryCheckpoint()
    let model = try checkpoint.load(backend)
    let options = KeyValueOptions(type: type)
    let ids = TemporaryCheckpoint.ids(50)
    let cache = try model.makeCache(capacity: 70, keyValues: options)
    _ = try model.prefill(ids, cache: cache)
    let other = try model.makeCache(capacity: 91, keyValues: options)
    let third = try model.makeCache(capacity: 60, keyValues: options)
    for target in [other, third] { target.beginRestoring(sequenceLength: 50) }
    let extents = cache.blockExtents
    #expect(extents == KeyValueExtents(type: type, heads: 2, headDim: 16))
    let count = 30 * extents.positionByteCount
    let (memory, expected) = (HostStagingMemory(count), HostStagingMemory(count))
    for layer in cache.layers {
      let source = try model.makeTransfer(layer: layer, of: cache, count: 50, for: .saving)
      let targets = try [other, third].map {
        try model.makeTransfer(layer: layer, of: $0, count: 50, for: .restoring)
      }
      if type == .float8 { for target in targets { try target.setFactors(source.factors()) } }
      // Both parts into the middle of a block.
      for positions in [0..<20, 20..<50] {
        let block = KeyValueBlock(memory: memory, extents: extents, positions: positions.count)
        let reference = KeyValueBlock(
          memory: expected, extents: extents, positions: positions.count)
        let half = positions.lowerBound + 7
        for rows in [half..<positions.upperBound, positions.lowerBound..<half] {
          try source.save(rows, to: block, at: rows.lowerBound - positions.lowerBound)
          try Numbers(source).save(
            rows, to: reference, at: rows.lowerBound - positions.lowerBound)
        }
        let bytes = [memory, expected].map {
          Array(UnsafeRawBufferPointer(start: $0.start, count: block.byteCount))
        }
        #expect(bytes[0] == bytes[1])
        try targets[0].restore(positions, from: block, at: 0)
        try Numbers(targets[1]).restore(positions, from: block, at: 0)
      }
      for target in targets { try target.close() }
      try source.close()
    }
    for target in [other, third] { target.finishRestoring(count: 50) }
    let expectedLogits = try model.decode(3, cache: cache)
    #expect(try model.decode(3, cache: other) == expectedLogits)
    #expect(try model.decode(3, cache: third) == expectedLogits)
  }

  @Test func `a block of another shape is refused`() throws {
    let checkpoint = try TemporaryCheckpoint()
    let model = try checkpoint.load(.cpu)
    let cache = try model.makeCache(capacity: 10)
    _ = try model.prefill(TemporaryCheckpoint.ids(9), cache: cache)
    let memory = HostStagingMemory(1 << 16)
    let transfer = try model.makeTransfer(layer: 0, of: cache, count: 9, for: .saving)
    for extents in [
      KeyValueExtents(type: .bfloat16, heads: 2, headDim: 16),
      KeyValueExtents(type: .float32, heads: 1, headDim: 16),
      KeyValueExtents(type: .float32, heads: 2, headDim: 32),
    ] {
      #expect(throws: TransformerError.self) {
        try transfer.save(
          0..<9, to: KeyValueBlock(memory: memory, extents: extents, positions: 9), at: 0)
      }
    }
    let extents = cache.blockExtents
    #expect(throws: TransformerError.self) {
      try transfer.save(
        0..<9, to: KeyValueBlock(memory: memory, extents: extents, positions: 9), at: 1)
    }
    #expect(throws: ComputeError.self) {
      try transfer.save(
        0..<9,
        to: KeyValueBlock(memory: HostStagingMemory(100), extents: extents, positions: 9), at: 0)
    }
  }
}
