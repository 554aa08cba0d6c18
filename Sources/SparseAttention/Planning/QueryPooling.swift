public import Compute

/// Gathers the means of a chunk's queries over blocks of 64, a part of the rows at a time, where its index
/// will be made: on a device that builds indices itself, else here.
public struct QueryPooling {
  private let backend: any Backend
  /// Position of the chunk's first row.
  private let firstPosition: Int
  private var means: [[Float]]?
  /// [queryHeads, blocks, headDim] on a device that builds indices; nil: means are read as they come.
  private var resident: Tensor?

  /// - Parameters:
  ///   - rows: Rows of the chunk; at least one.
  ///   - needsHostIndex: See ``ChunkInputs/needsHostIndex``.
  public init(
    backend: any Backend, shape: AttentionShape, firstPosition: Int, rows: Int,
    needsHostIndex: Bool
  ) throws {
    self.backend = backend
    self.firstPosition = firstPosition
    guard !needsHostIndex, backend.capabilities.buildsIndices else { return }
    let first = firstPosition / BlockSparse.blockSize
    let blocks = (firstPosition + rows - 1) / BlockSparse.blockSize - first + 1
    resident = try backend.makeTensor(
      .float32, [shape.queryHeads, blocks, shape.headDim],
      purpose: "means of \(blocks) blocks of queries")
  }

  /// Adds the rows that follow those already added.
  ///
  /// - Parameters:
  ///   - q: [rows, queryHeads, headDim], after rotary.
  ///   - position: That of row 0: the chunk's first, or a multiple of 64.
  public mutating func add(_ q: Tensor, firstPosition position: Int) throws {
    if let resident {
      let firstBlock = position / BlockSparse.blockSize - firstPosition / BlockSparse.blockSize
      return try backend.poolQueries(
        q, firstPosition: position, into: resident, firstBlock: firstBlock)
    }
    let added = try BlockSparse.pooledQueries(q, firstPosition: position, backend: backend)
    means = means.map { zip($0, added).map { $0 + $1 } } ?? added
  }

  /// Hands the means over.
  public func fill(_ inputs: inout ChunkInputs) {
    inputs.pooledQueries = means
    inputs.residentPooledQueries = resident
  }
}
