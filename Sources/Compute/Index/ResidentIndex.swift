/// An index that a device built and keeps: nothing of its size ever comes to the host.
public protocol ResidentIndex: AnyObject, Sendable {
  /// The rows and tiles of the index.
  var grid: TileGrid { get }

  /// What the device counted of it. May be kept when the index is not.
  var counts: any ResidentIndexCounts { get }

  /// The same index with these heads dense.
  func makingDense(_ heads: Set<Int>) throws -> any ResidentIndex
}

extension ResidentIndex {
  /// For each query head, the pairs that it computes. Waits until the index is built.
  public func computedPairs() throws -> [Int] { try counts.computedPairs() }

  /// For each query head, whether it computes every causal pair. Waits until the index is built.
  public func isDense() throws -> [Bool] { try counts.isDense() }
}

/// What a device counted of an index that it built: a few numbers a head, without the index.
public protocol ResidentIndexCounts: Sendable {
  /// For each query head, the pairs that it computes. Waits until the index is built.
  func computedPairs() throws -> [Int]

  /// For each query head, whether it computes every causal pair. Waits until the index is built.
  func isDense() throws -> [Bool]
}

/// A backend that takes a large index of the host's making once, and then attends by it as often as
/// wanted: how selections that no estimator makes are measured.
package protocol IndexUploading: Backend {
  /// An index over rows from position 0 on, on the backend's own tiles.
  ///
  /// - Parameters:
  ///   - rowSetOfHead: For each query head, which row set it uses.
  ///   - rowSet: Called once for each row set that a head uses, in ascending order; none is kept on the
  ///     host, where all of them together may be too large.
  /// - Throws: ``ComputeError/shapeMismatch(operation:detail:)`` for runs out of order or range.
  func makeIndex(
    rows: Int, shape: AttentionShape, rowSetOfHead: [Int], rowSet: (Int) throws -> RowSet
  ) throws -> SparseIndex
}
