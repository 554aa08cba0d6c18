internal import CUDASources
internal import Compute

/// Which heads of chosen blocks compute columns and offsets in their place, decided on the device
/// (`flexprefill.cu`).
final class CUDABandChoice {
  private let request: ShareRequest
  /// [slots] ShareHead.
  private let heads: Tensor
  private let backend: CUDABackend
  /// [slots, key blocks] float32: shares of the chunk's last query block.
  private let lastShares: Tensor
  /// [slots] Int32: 1: the head computes columns and offsets.
  let takesBands: Tensor

  init(_ request: ShareRequest, heads: Tensor, backend: CUDABackend, purpose: String) throws {
    self.request = request
    self.heads = heads
    self.backend = backend
    let slots = request.heads.count
    lastShares = try backend.makeTensor(.float32, [slots, request.keyBlocks], purpose: purpose)
    takesBands = try backend.makeTensor(.int32, [slots], purpose: purpose)
  }

  /// Keeps the shares of the chunk's last query block.
  ///
  /// - Parameters:
  ///   - part: The chunk's last part, whose sums are there.
  ///   - row: Position of the first row of the last query block that the part has.
  func keepLastShares(of part: CUDABlockChoice.Part, firstRow row: Int) throws {
    var parameters = try parameters()
    parameters.sums = try backend.address(part.sums, "ResidentBlockChoice")
    parameters.maxima = try backend.address(part.maxima, "ResidentBlockChoice")
    parameters.part_blocks = Int32(part.blocks.count)
    parameters.sum_stride = Int32(part.sums.shape[2])
    parameters.maximum_stride = Int32(part.maxima.shape[2])
    parameters.first_row = Int32(row)
    try launch("keep_last_shares", parameters, block: BandChoiceLaunch.keepThreads)
  }

  /// Decides.
  ///
  /// - Parameter columnSums: [queryHeads, stride] float32: the last rows' mass on every column.
  func choose(_ columnSums: Tensor) throws {
    var parameters = try parameters()
    parameters.column_sums = try backend.address(columnSums, .float32, "makeIndex")
    parameters.column_sum_stride = Int64(columnSums.rowCount)
    try launch("choose_bands", parameters, block: BandChoiceLaunch.threads)
  }

  /// What both launches have.
  private func parameters() throws -> mi_band_choice_parameters {
    var parameters = mi_band_choice_parameters()
    parameters.heads = try backend.address(heads, "makeIndex")
    parameters.last_shares = try backend.address(lastShares, "makeIndex")
    parameters.takes_bands = try backend.address(takesBands, "makeIndex")
    parameters.keys = Int32(request.firstPosition + request.rows)
    parameters.key_blocks = Int32(request.keyBlocks)
    parameters.window = Int32(clamping: request.shape.slidingWindow ?? .max)
    return parameters
  }

  private func launch(
    _ name: String, _ parameters: mi_band_choice_parameters, block: Int
  ) throws {
    var arguments = KernelArguments()
    arguments.add(parameters)
    try backend.kernel(name, in: BandChoiceLaunch.file).launch(
      grid: (request.heads.count, 1, 1), block: block, arguments)
  }
}

/// Geometry of `flexprefill.cu`.
package enum BandChoiceLaunch {
  package static let file = "flexprefill.cu"
  package static let keepThreads = 256
  /// Of choose_bands.
  package static let threads = 1024
}
