import BackendTesting
import Compute
import Synchronization

/// The reference backend, which counts its operations and fails where it is told to.
final class InstrumentedBackend: ForwardingBackend, @unchecked Sendable {
  struct Failure: Error {}

  private let state = Mutex(State())

  private struct State {
    var operations = 0
    var failing: Int?
  }

  init() { super.init(ReferenceBackend(tile: TileShape(rows: 16, columns: 8))) }

  override var name: String { "instrumented" }

  /// Operations so far.
  var operations: Int { state.withLock(\.operations) }

  /// The operation with this number, counted from now on, throws ``Failure``; nil: none does.
  func fail(atOperation number: Int?) {
    state.withLock { $0 = State(failing: number) }
  }

  private func count() throws {
    try state.withLock { state in
      defer { state.operations += 1 }
      if state.operations == state.failing { throw Failure() }
    }
  }

  override func makeTensor(_ type: DataType, _ shape: [Int], purpose: String) throws -> Tensor {
    try count()
    return try super.makeTensor(type, shape, purpose: purpose)
  }

  override func embed(_ ids: [Int32], table: Weight, into x: Tensor) throws {
    try count()
    try super.embed(ids, table: table, into: x)
  }

  override func linear(
    _ x: Tensor, weight: Weight, bias: Weight?, into y: Tensor, accumulate: Bool
  ) throws {
    try count()
    try super.linear(x, weight: weight, bias: bias, into: y, accumulate: accumulate)
  }

  override func store(k: Tensor, v: Tensor, in layer: KeyValueLayer, firstPosition: Int) throws {
    try count()
    try super.store(k: k, v: v, in: layer, firstPosition: firstPosition)
  }

  override func attention(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape,
    index: SparseIndex, into o: Tensor, logSumExp: Tensor?
  ) throws {
    try count()
    try super.attention(
      q: q, firstPosition: firstPosition, layer: layer, shape: shape, index: index, into: o,
      logSumExp: logSumExp)
  }

  override func rowAttention(
    q: Tensor, positions: [Int], layer: KeyValueLayer, shape: AttentionShape, into o: Tensor,
    logSumExp: Tensor?
  ) throws {
    try count()
    try super.rowAttention(
      q: q, positions: positions, layer: layer, shape: shape, into: o, logSumExp: logSumExp)
  }

  override func lastRowSums(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape, heads: [Int]
  ) throws -> DeviceRowSums {
    try count()
    return try super.lastRowSums(
      q: q, firstPosition: firstPosition, layer: layer, shape: shape, heads: heads)
  }
}
