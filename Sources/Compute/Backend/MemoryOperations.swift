/// Making tensors and moving numbers between them and the host.
public protocol MemoryOperations: AnyObject, Sendable {
  /// An uninitialised tensor. Throws ``ComputeError/outOfMemory(wantedBytes:purpose:)``.
  func makeTensor(_ type: DataType, _ shape: [Int], purpose: String) throws -> Tensor

  /// All elements as float32, in order. Waits for earlier operations.
  func read(_ tensor: Tensor) throws -> [Float]

  /// Fills a float32 tensor, or one of the activations' type, from `values`, of the same count; a
  /// backend that keeps float8 also fills those.
  func write(_ values: [Float], to tensor: Tensor) throws

  /// y[r] = x[rows[r]], bit for bit. x: [n, ...] of float32, bfloat16 or the activations' type; rows: each in
  /// 0 ..< n, in any order, also repeated; y: [rows.count, ...] of the type and width of x.
  ///
  /// Throws ``ComputeError/shapeMismatch(operation:detail:)`` where they do not fit.
  func gatherRows(_ x: Tensor, rows: [Int32], into y: Tensor) throws

  /// Host memory that the device copies to and from without a detour.
  ///
  /// - Throws: ``ComputeError/outOfMemory(wantedBytes:purpose:)``.
  func makeStagingMemory(byteCount: Int, purpose: String) throws -> any StagingMemory

  /// Copies the bytes of tensors' elements, as they are stored, to host memory: behind earlier operations, and
  /// perhaps still after this has returned (``StagingMemory/wait()``).
  func copy(_ parts: [StagedPart], to memory: any StagingMemory) throws

  /// Copies the bytes of tensors' elements from host memory: behind earlier operations, before later ones,
  /// and perhaps still after this has returned (``StagingMemory/wait()``).
  func copy(_ memory: any StagingMemory, to parts: [StagedPart]) throws

  /// Where a sequence's keys and values are to live. Layers have `extents` [keyValueHeads,
  /// capacity, headDim] each.
  ///
  /// A store that may share memory and is too short for it, or whose format or place does not allow it, shares nothing.
  ///
  /// - Throws: ``ComputeError/shapeMismatch(operation:detail:)`` for a beginning that the new store cannot have;
  ///   out of memory.
  func makeKeyValueStore(
    layers: Int, extents: [Int], options: KeyValueOptions, sharing: KeyValueSharing
  ) throws -> any KeyValueStore
}

/// The check that every ``MemoryOperations/gatherRows(_:rows:into:)`` begins with.
package func requireGather(_ x: Tensor, rows: [Int32], into y: Tensor) throws {
  try require(
    x.type == y.type && y.shape == [rows.count] + x.shape.dropFirst(), "gatherRows",
    "\(rows.count) rows of \(x.type) \(x.shape) into \(y.type) \(y.shape)")
  if let bad = rows.firstIndex(where: { $0 < 0 || Int($0) >= x.rows }) {
    throw ComputeError.shapeMismatch(
      operation: "gatherRows", detail: "row \(rows[bad]) at index \(bad) of \(x.rows) rows")
  }
}
