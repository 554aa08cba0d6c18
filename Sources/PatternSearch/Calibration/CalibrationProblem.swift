import Compute
import SparseAttention

/// Random tensors of one attention layer, and indices whose work is known exactly.
struct CalibrationProblem {
  let backend: any Backend
  let shape: AttentionShape
  let keys: Int
  let grid: TileGrid
  let layer: KeyValueLayer
  private let q: Tensor
  private let o: Tensor

  init(
    backend: any Backend, shape: AttentionShape, keys: Int, keyValueType: DataType
  ) throws {
    self.backend = backend
    self.shape = shape
    self.keys = keys
    grid = TileGrid(
      firstPosition: 0, rows: keys, tile: backend.tileShape(headDim: shape.headDim),
      slidingWindow: shape.slidingWindow)
    var random = SplitMix64(seed: 1)
    func tensor(_ extents: [Int]) throws -> Tensor {
      let tensor = try backend.makeTensor(
        backend.activationType, extents, purpose: "calibration")
      try backend.write(
        (0..<tensor.count).map { _ in Float.random(in: -1...1, using: &random) }, to: tensor)
      return tensor
    }
    q = try tensor([keys, shape.queryHeads, shape.headDim])
    o = try backend.makeTensor(backend.activationType, q.shape, purpose: "calibration")
    let extents = [shape.keyValueHeads, keys, shape.headDim]
    layer = KeyValueLayer(
      keys: try backend.makeTensor(keyValueType, extents, purpose: "calibration"),
      values: try backend.makeTensor(keyValueType, extents, purpose: "calibration"), count: keys)
    let rows = try tensor([keys, shape.keyValueHeads, shape.headDim])
    try backend.store(k: rows, v: rows, in: layer, firstPosition: 0)
  }

  /// The row sets whose times are fitted: dense, a band, lone offsets, columns, and mixtures.
  func rowSets() -> [(name: String, rowSet: RowSet)] {
    let eighth = max(keys / 8, 1)
    let lone = Self.spread(count: max(keys / 256, 2), below: keys)
    let columns = Self.spread(count: eighth, below: keys)
    func tiles(_ offsets: [Range<Int>], _ columns: [Int]) -> RowSet {
      .tiles(TileRuns(offsets: offsets, columns: columns.map(Int32.init), on: grid))
    }
    let slashes = lone.map { $0..<$0 + 1 }
    let clusters = Self.spread(count: max(keys / 2048, 1), below: keys).map { $0..<$0 + 64 }
    return [
      ("dense", .all),
      ("band", tiles([0..<eighth], [])),
      ("narrow band", tiles([0..<64], [])),
      ("lone offsets", tiles(slashes, [])),
      ("runs of 64 offsets", tiles(clusters, [])),
      ("columns", tiles([0..<64], columns)),
      ("columns and lone offsets", tiles(slashes, columns)),
    ]
  }

  /// Distinct numbers below a limit, evenly spaced with a small jitter, ascending from 1.
  private static func spread(count: Int, below limit: Int) -> [Int] {
    let step = max(limit / count, 1)
    return (0..<count).map { $0 * step + 1 + $0 * 7 % max(step / 2, 1) }.filter { $0 < limit }
  }

  func attend(_ rowSet: RowSet) throws {
    let index = try TileIndex(
      firstPosition: 0, rows: keys, tile: grid.tile, rowSets: [rowSet],
      rowSetOfHead: Array(repeating: 0, count: shape.queryHeads))
    try backend.attention(
      q: q, firstPosition: 0, layer: layer, shape: shape, index: .tiles(index),
      into: o, logSumExp: nil)
  }

  /// Sums of the last rows and the choice, for all heads, without the index.
  func estimate() throws {
    let rows = min(VerticalSlashRule.lastRows, keys)
    let sums = try backend.lastRowSums(
      q: q.slice(rows: keys - rows..<keys), firstPosition: keys - rows, layer: layer,
      shape: shape, heads: Array(0..<shape.queryHeads))
    for head in try backend.read(sums) {
      _ = VerticalSlash.selection(head, vertical: keys / 16, slash: keys / 16)
    }
  }

  /// Means of blocks of queries and keys for all heads. Includes the second projection of the queries,
  /// `hidden` to all heads.
  func pool(hidden: Tensor, weight: Weight) throws {
    try backend.linear(
      hidden, weight: weight, bias: nil, into: o.reshaped([keys, o.rowCount]), accumulate: false)
    _ = try backend.readRows(backend.meanPooled(q, blockSize: BlockSparse.blockSize))
    _ = try backend.readRows(
      backend.meanPooledKeys(layer, count: keys, blockSize: BlockSparse.blockSize))
  }
}
