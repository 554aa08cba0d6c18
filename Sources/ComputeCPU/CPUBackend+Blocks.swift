internal import CKernels
import Compute
internal import StoredNumbers

/// Matrices stored in blocks: activations become int8 too, and blocks are multiplied as they are.
///
/// An activation is rounded by at most half a step of its 32: 1/254 of the largest of them.
extension CPUBackend {
  /// Up to this many rows, reading the weights is the cost, and no panel of them is made.
  private static let fewBlockRows = 2
  /// Bytes of blocks that more rows than those are multiplied with before the next ones are read.
  private static let pieceBytes = 256 << 10
  /// Rows whose activations are quantised together take at most about this many bytes: they stay in a cache.
  private static let activationBytes = 16 << 20

  /// As ``linear(_:weight:bias:into:accumulate:)``, for a weight in blocks.
  ///
  /// - Parameter keepsRows: Whether each row is computed bit for bit as it is alone.
  func linear(
    _ x: Tensor, blocks weight: Weight, _ format: BlockFormat, bias: UnsafePointer<Float>?,
    into y: Tensor, accumulate: Bool, keepsRows: Bool
  ) throws {
    let matrix = try BlockMatrix(weight, format)
    let source = UnsafePointer(try x.floats("linear"))
    let target = try y.floats("linear")
    let (width, out) = (matrix.width, matrix.rows)
    let rowBytes = max(1, products.activation_bytes(1, Int64(width)))
    let rowsAtOnce = max(64, Self.activationBytes / rowBytes)
    try activations.withMemory(bytes: min(x.rows, rowsAtOnce) * rowBytes) { memory in
      for first in stride(from: 0, to: x.rows, by: rowsAtOnce) {
        let rows = min(rowsAtOnce, x.rows - first)
        pool.split(rows, minimum: max(1, (1 << 15) / width)) { range in
          products.quantise_rows(
            matrix.format, source + first * width, Int64(rows), Int64(width),
            Int64(range.lowerBound), Int64(range.upperBound), memory)
        }
        try multiply(
          memory, rows: rows, matrix, bias: bias, into: target + first * out, accumulate,
          keepsRows: keepsRows)
      }
    }
  }

  /// y (+)= x * transpose(matrix) + bias, of quantised rows.
  private func multiply(
    _ x: UnsafeRawPointer, rows: Int, _ matrix: BlockMatrix, bias: UnsafePointer<Float>?,
    into y: UnsafeMutablePointer<Float>, _ accumulate: Bool, keepsRows: Bool
  ) throws {
    var blocks = mi_block_matrix(
      format: matrix.format, blocks: matrix.bytes, row_bytes: Int64(matrix.rowBytes),
      width: Int64(matrix.width))
    let out = Int64(matrix.rows)
    try withUnsafePointer(to: &blocks) { blocks in
      // Pieces are smaller than a thread's share, for threads are not equally fast.
      if keepsRows || rows <= Self.fewBlockRows {
        let least = max(1, (1 << 16) / matrix.width)
        var pieces = max(1, min(4 * threads, matrix.rows / least))
        // The kernel reads the blocks again for every two rows: they are to be in a cache then.
        if rows > Self.fewBlockRows {
          pieces = max(pieces, min(matrix.rows, matrix.rows * matrix.rowBytes / Self.pieceBytes))
        }
        let count = pieces
        pool.run(count) { piece, _ in
          products.few_rows(
            blocks, x, Int64(rows), Int64(matrix.rows * piece / count),
            Int64(matrix.rows * (piece + 1) / count), bias, y, out, accumulate)
        }
        return
      }
      let panel = Int(products.panel_outputs)
      try parallel(
        (matrix.rows + panel - 1) / panel, scratchBytes: products.panel_bytes(Int64(matrix.width))
      ) { piece, scratch in
        products.many_rows(
          blocks, x, Int64(rows), Int64(piece * panel), min(out, Int64((piece + 1) * panel)), bias,
          y, out, accumulate, scratch)
      }
    }
  }

  /// x[r] = table[ids[r]], of a table in blocks, for ids that are rows of it.
  func embed(
    _ ids: [Int32], blocks table: Weight, _ format: BlockFormat,
    into x: UnsafeMutablePointer<Float>
  ) throws {
    let matrix = try BlockMatrix(table, format)
    pool.split(ids.count, minimum: 16) { rows in
      for row in rows {
        let id = Int(ids[row])
        widen(matrix, rows: id..<id + 1, into: x + row * matrix.width)
      }
    }
  }

  /// The elements of rows as float32, one row after the other.
  private func widen(
    _ matrix: BlockMatrix, rows: Range<Int>, into target: UnsafeMutablePointer<Float>
  ) {
    kernels.dequantise(
      matrix.format, matrix.bytes + rows.lowerBound * matrix.rowBytes, target,
      Int64(rows.count * matrix.rowBlocks))
  }

  /// A small weight in blocks (a norm, a bias) as float32.
  func widened(_ stored: StoredTensor, _ format: BlockFormat) throws -> Tensor {
    let numbers = try makeTensor(.float32, stored.shape, purpose: "weights")
    let matrix = try BlockMatrix(
      Weight(
        storage: HostBuffer(borrowing: stored.bytes, owner: stored.owner), format: stored.format,
        shape: [1, numbers.count]), format)
    widen(matrix, rows: 0..<1, into: try numbers.floats("prepare"))
    return numbers
  }
}

/// A weight in blocks, in the host's memory.
private struct BlockMatrix {
  let bytes: UnsafeRawPointer
  let format: mi_block_format
  let rows: Int
  let width: Int
  let rowBytes: Int
  /// Blocks of a row.
  let rowBlocks: Int

  init(_ weight: Weight, _ format: BlockFormat) throws {
    guard let buffer = weight.storage as? HostBuffer,
      let rowBytes = format.rowByteCount(weight.rowCount),
      weight.byteOffset + weight.rows * rowBytes <= buffer.byteCount
    else {
      throw ComputeError.shapeMismatch(
        operation: "CPU backend",
        detail: "a weight \(weight.shape) in \(format.rawValue) that this backend did not prepare")
    }
    bytes = UnsafeRawPointer(buffer.base) + weight.byteOffset
    self.format = format.kernelFormat
    rows = weight.rows
    width = weight.rowCount
    self.rowBytes = rowBytes
    rowBlocks = rowBytes / format.bytesPerBlock
  }
}

extension BlockFormat {
  fileprivate var kernelFormat: mi_block_format {
    switch self {
    case .q40: MI_Q4_0
    case .q41: MI_Q4_1
    case .q50: MI_Q5_0
    case .q51: MI_Q5_1
    case .q80: MI_Q8_0
    case .q2K: MI_Q2_K
    case .q3K: MI_Q3_K
    case .q4K: MI_Q4_K
    case .q5K: MI_Q5_K
    case .q6K: MI_Q6_K
    case .iq4NL: MI_IQ4_NL
    case .iq4XS: MI_IQ4_XS
    case .mxfp4: MI_MXFP4
    }
  }
}
