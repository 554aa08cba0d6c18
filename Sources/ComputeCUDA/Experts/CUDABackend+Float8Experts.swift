internal import CUDASources
import Compute

/// Experts of float8 with a scale for each block of a matrix: they stay in the GPU's memory as the file has
/// them (`float8_blocks.cu`). Products of few rows read them as they are; for more rows as many matrices as
/// scratch memory has room for become bfloat16.
extension CUDABackend {
  private static let file = "float8_blocks.cu"

  /// The matrices and their scales, one behind the other.
  ///
  /// - Parameters:
  ///   - first: The matrix of expert 0, which `matrix` is not asked for.
  ///   - scales: Its scales; those of the others have blocks of the same size.
  func prepareFloat8Experts(
    _ count: Int, _ first: StoredTensor, _ scales: StoredScales,
    _ matrix: (_ expert: Int) throws -> StoredTensor
  ) throws -> ExpertWeights {
    let width = first.shape[1]
    guard width % 8 == 0, scales.columns % 8 == 0 || scales.columns >= width else {
      throw ComputeError.unavailable(
        what: "experts of float8 \(first.shape) (\(first.name)) with scales for "
          + "\(scales.columns) columns on a GPU",
        remedy: Remedy("a GPU takes multiples of 8", use: .processor))
    }
    var factors: [Float] = []
    factors.reserveCapacity(count * scales.values.count)
    let memory = try stackBytes(count, first) { expert in
      let stored = expert == 0 ? first : try matrix(expert)
      try require(
        stored.scales?.rows == scales.rows && stored.scales?.columns == scales.columns,
        "prepareExperts", "\(stored.name) has scales for other blocks than \(first.name)")
      factors += stored.scales?.values ?? []
      return stored
    }
    let each = scales.values.count
    let values = try makeTensor(.float32, [count * each], purpose: "weights")
    try write(factors, to: values)
    let size = first.bytes.count
    return ExpertWeights(
      (0..<count).map { expert in
        Weight(
          storage: memory, byteOffset: expert * size, format: first.format,
          blockScales: BlockScales(
            values: values.slice(rows: expert * each..<(expert + 1) * each), rows: scales.rows,
            columns: scales.columns), shape: first.shape)
      })
  }

  /// The matrices of some experts as bfloat16, one behind the other, into the start of a tensor.
  func dequantise(
    float8 weights: ExpertWeights, experts: Range<Int>, into target: Tensor
  ) throws {
    guard let scales = weights.matrices[experts.lowerBound].blockScales else {
      throw ComputeError.shapeMismatch(operation: "dequantise", detail: "experts without scales")
    }
    let matrix = weights.outputs * weights.inputs
    let groups = matrix / 8
    var arguments = KernelArguments()
    arguments.add(try address(weights, "dequantise") + UInt64(experts.lowerBound * matrix))
    arguments.add(try address(target, .bfloat16, "dequantise"))
    arguments.add(Int32(groups))
    arguments.add(Int32(weights.inputs))
    arguments.add(try address(scales.values, .float32, "dequantise"))
    add(blocksOf: scales, inputs: weights.inputs, to: &arguments)
    try kernel("dequantise_experts_float8", in: Self.file).launch(
      grid: (ElementwiseLaunch.blocks(groups), experts.count, 1), block: ElementwiseLaunch.threads,
      arguments)
  }

  /// Products of few positions.
  func multiplyFew(
    _ product: mi_expert_product, float8 weight: ExpertWeights, _ up: ExpertWeights?,
    _ scales: BlockScales, _ routing: ExpertRouting, _ operation: String
  ) throws {
    var product = product
    product.weight = try address(weight, operation)
    product.weight_scales = try address(scales.values, .float32, operation)
    if let up {
      let upScales = up.matrices[0].blockScales
      guard let upScales, upScales.rows == scales.rows, upScales.columns == scales.columns else {
        throw ComputeError.shapeMismatch(
          operation: operation, detail: "gates and ups have scales for other blocks")
      }
      product.up = try address(up, operation)
      product.up_scales = try address(upScales.values, .float32, operation)
    }
    var arguments = KernelArguments()
    arguments.add(product)
    arguments.add(try address(routing.experts, .int32, operation))
    add(blocksOf: scales, inputs: weight.inputs, to: &arguments)
    try kernel(
      up == nil ? "few_expert_linear_float8" : "few_gated_experts_float8", in: Self.file
    ).launch(
      grid: ((weight.outputs + 7) / 8, routing.positions, 1), block: ElementwiseLaunch.threads,
      arguments)
  }

  /// Rows and columns of a block, blocks beside each other, and scales of a matrix.
  private func add(
    blocksOf scales: BlockScales, inputs: Int, to arguments: inout KernelArguments
  ) {
    arguments.add(Int32(scales.rows))
    arguments.add(Int32(scales.columns))
    arguments.add(Int32((inputs + scales.columns - 1) / scales.columns))
    arguments.add(Int32(scales.values.count))
  }
}
