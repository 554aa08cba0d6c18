import Compute

/// One layer of a cache, open for copying: what is kept comes out as it is kept, and goes in likewise.
///
/// Rows are [position][head][dim]. A transfer is closed by ``close()``, or without keeping anything that
/// was written when it is dropped.
public protocol KeyValueTransfer: AnyObject {
  /// What float8 numbers were divided by; empty for other types.
  func factors() throws -> [Float]

  /// - Throws: ``TransformerError/foreignCache(detail:)`` for a number of them that does not fit.
  func setFactors(_ factors: [Float]) throws

  func rows(at positions: Range<Int>) throws -> (keys: [Float], values: [Float])

  func setRows(at positions: Range<Int>, keys: [Float], values: [Float]) throws

  /// Copies positions, as they are kept, to those of a block from `first` on. They are there once the block's
  /// memory was waited for.
  func save(_ positions: Range<Int>, to block: KeyValueBlock, at first: Int) throws

  /// Copies positions of a block from `first` on to positions of the cache, as they are. The block's memory is
  /// in use until it was waited for.
  func restore(_ positions: Range<Int>, from block: KeyValueBlock, at first: Int) throws

  /// Keeps what was written. What follows on the device finds it.
  func close() throws
}

/// What a layer is opened for.
public enum KeyValueTransferPurpose: Sendable {
  case saving
  /// Positions from the cache's count on; an empty cache knows its sequence's length. Of each part the layers
  /// come in ascending order, all of them.
  case restoring
}

extension Transformer {
  /// Opens a layer of a cache for copying.
  ///
  /// - Parameter count: Positions that are kept, or will be.
  /// - Throws: ``TransformerError/cacheInUse``; what the cache's store throws.
  package func makeTransfer(
    layer: Int, of cache: KeyValueCache, count: Int, for purpose: KeyValueTransferPurpose
  ) throws -> any KeyValueTransfer {
    if let distribution {
      return try distribution.makeTransfer(
        layer: layer, of: cache, count: count, for: purpose)
    }
    return LocalKeyValueTransfer(
      try cache.open(layer, count: count, for: .transfer), backend: backend)
  }
}

/// A layer of a cache on a device of this process.
private final class LocalKeyValueTransfer: KeyValueTransfer {
  private let opened: KeyValueCache.OpenLayer
  private let backend: any Backend
  private var layer: KeyValueLayer { opened.keysAndValues }

  init(_ opened: KeyValueCache.OpenLayer, backend: any Backend) {
    self.opened = opened
    self.backend = backend
  }

  func factors() throws -> [Float] { try layer.scales.map(backend.read) ?? [] }

  func setFactors(_ factors: [Float]) throws {
    guard let scales = layer.scales, scales.count == factors.count else {
      throw TransformerError.foreignCache(detail: "it has not \(factors.count) factors")
    }
    try backend.write(factors, to: scales)
  }

  func rows(at positions: Range<Int>) throws -> (keys: [Float], values: [Float]) {
    (try elements(of: layer.keys, at: positions), try elements(of: layer.values, at: positions))
  }

  func save(_ positions: Range<Int>, to block: KeyValueBlock, at first: Int) throws {
    try backend.copy(parts(positions, block, first), to: block.memory)
  }

  func restore(_ positions: Range<Int>, from block: KeyValueBlock, at first: Int) throws {
    try backend.copy(block.memory, to: parts(positions, block, first))
  }

  /// The rows of every head's keys and values, and where they lie in a block.
  private func parts(
    _ positions: Range<Int>, _ block: KeyValueBlock, _ first: Int
  ) throws -> [StagedPart] {
    var parts: [StagedPart] = []
    for (part, tensor) in [layer.keys, layer.values].enumerated() {
      let (heads, capacity, dim) = (tensor.shape[0], tensor.shape[1], tensor.shape[2])
      guard tensor.type == block.extents.type, heads == block.extents.heads,
        dim == block.extents.headDim, first >= 0, first + positions.count <= block.positions
      else {
        throw TransformerError.foreignCache(
          detail: "a block of \(block.extents.type.rawValue) does not hold its rows")
      }
      let rows = tensor.reshaped([heads * capacity, dim])
      for head in 0..<heads {
        let start = head * capacity
        parts.append(
          StagedPart(
            offset: block.offset(part: part, head: head, position: first),
            tensor: rows.slice(rows: start + positions.lowerBound..<start + positions.upperBound)))
      }
    }
    return parts
  }

  func close() throws { try opened.close() }

  /// Positions of a cached tensor [heads, capacity, dim], as [position][head][dim].
  private func elements(of tensor: Tensor, at positions: Range<Int>) throws -> [Float] {
    let (heads, capacity, dim) = (tensor.shape[0], tensor.shape[1], tensor.shape[2])
    let rows = tensor.reshaped([heads * capacity, dim])
    var result = [Float](repeating: 0, count: positions.count * heads * dim)
    for head in 0..<heads {
      let first = head * capacity + positions.lowerBound
      let floats = try backend.read(rows.slice(rows: first..<first + positions.count))
      for row in 0..<positions.count {
        let target = (row * heads + head) * dim
        for element in 0..<dim { result[target + element] = floats[row * dim + element] }
      }
    }
    return result
  }

  func setRows(at positions: Range<Int>, keys: [Float], values: [Float]) throws {
    let (heads, capacity, dim) = (
      layer.keys.shape[0], layer.keys.shape[1], layer.keys.shape[2]
    )
    guard layer.keys.type == .float8 else {
      let rows = try [keys, values].map { floats in
        let tensor = try backend.makeTensor(
          backend.activationType, [positions.count, heads, dim],
          purpose: "keys and values from a file")
        try backend.write(floats, to: tensor)
        return tensor
      }
      return try backend.store(
        k: rows[0], v: rows[1], in: layer, firstPosition: positions.lowerBound)
    }
    // What was divided by the factors once must not be again.
    for (floats, tensor) in [(keys, layer.keys), (values, layer.values)] {
      let cells = tensor.reshaped([heads * capacity, dim])
      for head in 0..<heads {
        let first = head * capacity + positions.lowerBound
        var own: [Float] = []
        for row in 0..<positions.count {
          let start = (row * heads + head) * dim
          own += floats[start..<start + dim]
        }
        try backend.write(own, to: cells.slice(rows: first..<first + positions.count))
      }
    }
  }
}
