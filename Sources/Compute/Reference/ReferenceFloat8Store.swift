import StoredNumbers

/// Keys and values as float8: what a device that keeps them so should do, written down plainly.
///
/// A prefill reads the rows that it adds as they are, and those of before as they are kept; decoding
/// reads what is kept, its own row included. Each head has one factor for its keys and one for its
/// values in each layer, decided by the first rows: their largest number, with room for larger ones
/// to come, is the format's largest.
final class ReferenceFloat8Store: KeyValueStore {
  let type = DataType.float8
  let place = KeyValueOptions.Place.device
  private let backend: ReferenceBackend
  private let kept: [KeyValueLayer]
  private var open: (layer: KeyValueLayer, access: KeyValueAccess)?
  /// Room above the largest number of the first rows.
  private static let headroom = 16.0

  init(layers: Int, extents: [Int], backend: ReferenceBackend) throws {
    self.backend = backend
    let purpose = "keys and values"
    kept = try (0..<layers).map { _ in
      KeyValueLayer(
        keys: try backend.makeTensor(.float8, extents, purpose: purpose),
        values: try backend.makeTensor(.float8, extents, purpose: purpose), count: 0,
        scales: try backend.makeTensor(.float32, [2, extents[0]], purpose: purpose))
    }
  }

  var layers: Int { kept.count }
  var capacity: Int { kept.first?.capacity ?? 0 }
  var byteCount: Int { kept.reduce(0) { $0 + $1.keys.byteCount + $1.values.byteCount } }

  func open(
    layer: Int, kept count: Int, count end: Int, for access: KeyValueAccess
  ) throws -> KeyValueLayer {
    // The first rows decide the factors, however they come.
    let access = access == .decode && count == 0 ? KeyValueAccess.prefill : access
    var opened = kept[layer]
    opened.count = end
    if access == .prefill {
      opened = KeyValueLayer(
        keys: try plain(kept[layer].keys, factors: 0, of: kept[layer]),
        values: try plain(kept[layer].values, factors: 1, of: kept[layer]), count: end)
    }
    open = (opened, access)
    return opened
  }

  func close(layer: Int, kept count: Int, count end: Int) throws {
    guard let (opened, access) = open, access == .prefill, end > count else { return }
    for (row, pair) in [(opened.keys, kept[layer].keys), (opened.values, kept[layer].values)]
      .enumerated()
    {
      try keep(
        pair.0, positions: count..<end, in: pair.1, factors: row, of: kept[layer],
        decides: count == 0)
    }
  }

  /// The numbers that a tensor stands for, in the type of activations.
  private func plain(_ tensor: Tensor, factors row: Int, of layer: KeyValueLayer) throws -> Tensor {
    let factors = try self.factors(row, of: layer)
    let perHead = tensor.count / factors.count
    let numbers = try backend.doubles(tensor).enumerated().map { index, number in
      number * factors[index / perHead]
    }
    let result = try backend.makeTensor(
      backend.activationType, tensor.shape, purpose: "keys and values")
    try backend.store(numbers, in: result)
    return result
  }

  private func keep(
    _ source: Tensor, positions: Range<Int>, in target: Tensor, factors row: Int,
    of layer: KeyValueLayer, decides: Bool
  ) throws {
    let (heads, capacity, dim) = (target.shape[0], target.shape[1], target.shape[2])
    var factors = try self.factors(row, of: layer)
    for head in 0..<heads {
      let rows = head * capacity + positions.lowerBound..<head * capacity + positions.upperBound
      let numbers = try backend.doubles(
        source.reshaped([heads * capacity, dim]).slice(rows: rows))
      if decides {
        let largest = numbers.reduce(0) { max($0, abs($1)) }
        factors[head] = largest > 0 ? largest * Self.headroom / Double.largestFloat8 : 1
      }
      let factor = factors[head]
      try backend.store(
        numbers.map { $0 / factor },
        in: target.reshaped([heads * capacity, dim]).slice(rows: rows))
    }
    if decides, let scales = layer.scales {
      try backend.store(factors, in: scales.slice(rows: row..<row + 1))
    }
  }

  private func factors(_ row: Int, of layer: KeyValueLayer) throws -> [Double] {
    guard let scales = layer.scales else { return [] }
    return try backend.doubles(scales.slice(rows: row..<row + 1))
  }
}
