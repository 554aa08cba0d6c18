internal import CUDASources
public import Compute
internal import StoredNumbers

/// Linear layers of a decoding step: norm, products with several matrices, biases and gate in one launch
/// (`decoding_products.cu`, `decoding_blocks.cuh`), for up to eight rows at a time.
extension CUDABackend {
  public func normedLinear(
    _ x: Tensor, norm: RowNorm, normed: Tensor, products: [RowProduct]
  ) throws {
    var rest: [RowProduct] = []
    for group in groups(of: products, x: x) {
      guard let kind = group.kind else {
        rest += group.products
        continue
      }
      try launch(kind, x, norm: norm, group.products)
    }
    guard !rest.isEmpty else { return }
    try rmsNorm(x, weight: norm.weight, epsilon: norm.epsilon, into: normed)
    for product in rest {
      try linear(
        normed, weight: product.weight, bias: product.bias, into: product.y, accumulate: false)
    }
  }

  public func gatedLinear(
    _ x: Tensor, norm: RowNorm, normed: Tensor, gate: RowProduct, up: RowProduct, input: Tensor?
  ) throws -> Tensor {
    let groups = groups(of: [gate, up], x: x)
    if groups.count == 1, let kind = groups[0].kind, gate.weight.rows == up.weight.rows {
      try launch(kind, x, norm: norm, [gate, up], isGated: true)
      return gate.y
    }
    try normedLinear(x, norm: norm, normed: normed, products: [gate, up])
    guard let input else {
      try swiGLU(gate: gate.y, up: up.y)
      return gate.y
    }
    try swiGLU(gate: gate.y, up: up.y, into: input)
    return input
  }

  public func rowLinear(
    _ x: Tensor, weight: Weight, bias: Weight?, into y: Tensor, accumulate: Bool
  ) throws {
    let product = RowProduct(weight: weight, bias: bias, y: y)
    guard let kind = kind(of: product, x: x) else {
      return try linear(x, weight: weight, bias: bias, into: y, accumulate: accumulate)
    }
    try launch(kind, x, norm: nil, [product], accumulate: accumulate)
  }
}

/// How a kernel of decoding steps reads weights.
private enum DecodingKind: Hashable {
  case bfloat16
  /// Of float8, with a factor for each output, or for each block.
  case float8
  case float8Blocks
  case blocks(BlockFormat)

  /// Rows of one launch.
  static let rows = 8

  /// The most rows that are computed so; more are left to what is made for many.
  var mostRows: Int {
    // A library reads weights of bfloat16 once for all rows; others would have to be widened in memory.
    self == .bfloat16 ? Self.rows : 4 * Self.rows
  }
}

extension CUDABackend {
  /// The kernels' way with a product; nil: there is none.
  private func kind(of product: RowProduct, x: Tensor) -> DecodingKind? {
    let weight = product.weight
    guard x.type == .bfloat16, x.rows > 0, weight.shape.count == 2 else { return nil }
    let inputs = weight.rowCount
    let kind: DecodingKind
    switch weight.format {
    case .dense(.bfloat16) where weight.blockScales == nil && weight.scales == nil:
      guard inputs % 8 == 0 else { return nil }
      kind = .bfloat16
    case .dense(.float8):
      guard inputs % 16 == 0 else { return nil }
      if let scales = weight.blockScales {
        // A step of the kernel, 64 inputs, has one factor.
        guard scales.columns % 64 == 0 || scales.columns >= inputs else { return nil }
        kind = .float8Blocks
      } else {
        guard weight.scales != nil else { return nil }
        kind = .float8
      }
    case .blocks(let format):
      guard DecodingLaunch.rowBytes(inputs: inputs) <= DecodingLaunch.mostSharedBytes else {
        return nil
      }
      kind = .blocks(format)
    default: return nil
    }
    return x.rows <= kind.mostRows ? kind : nil
  }

  /// Products in their order, those that one launch computes together.
  private func groups(
    of products: [RowProduct], x: Tensor
  ) -> [(kind: DecodingKind?, products: [RowProduct])] {
    var groups: [(kind: DecodingKind?, products: [RowProduct])] = []
    for product in products {
      let kind = kind(of: product, x: x)
      let isAlike: (Int) -> Bool = { index in
        groups[index].kind == kind && groups[index].products.count < DecodingLaunch.matrices
          && groups[index].products[0].y.type == product.y.type
      }
      if let index = groups.indices.first(where: isAlike) {
        groups[index].products.append(product)
      } else {
        groups.append((kind, [product]))
      }
    }
    return groups
  }

  /// Whether products of a single row are launches of kernels that take it from elsewhere or bring it there.
  func canBeOneRow(_ products: [RowProduct], x: Tensor, hasNorm: Bool) -> Bool {
    x.rows == 1 && !products.isEmpty
      && DecodingLaunch.stages(inputs: x.rowCount, hasNorm: hasNorm)
      && products.allSatisfy { kind(of: $0, x: x) != nil }
  }

  /// Products of a single row, with where it comes from or goes to.
  func launchRow(
    _ x: Tensor, norm: RowNorm?, _ products: [RowProduct], _ end: RowEnd, accumulate: Bool = false
  ) throws {
    for group in groups(of: products, x: x) {
      guard let kind = group.kind else { continue }
      try launch(kind, x, norm: norm, group.products, accumulate: accumulate, end: end)
    }
  }

  private func launch(
    _ kind: DecodingKind, _ x: Tensor, norm: RowNorm?, _ products: [RowProduct],
    isGated: Bool = false, accumulate: Bool = false, end: RowEnd? = nil
  ) throws {
    let operation = "linear"
    let inputs = x.rowCount
    try require(
      x.shape.count == 2
        && products.allSatisfy {
          $0.weight.rowCount == inputs && $0.y.shape == [x.rows, $0.weight.rows]
            && $0.bias?.count ?? $0.weight.rows == $0.weight.rows
            && ($0.y.type == .bfloat16 || $0.y.type == .float32)
        } && norm?.weight.count ?? inputs == inputs, operation,
      "x \(x.shape), weights \(products.map(\.weight.shape)), y \(products.map(\.y.shape))")
    var rowsAtOnce = DecodingKind.rows
    if case .blocks = kind {
      rowsAtOnce = min(
        rowsAtOnce,
        max(1, DecodingLaunch.mostSharedBytes / DecodingLaunch.rowBytes(inputs: inputs)))
    }
    for first in stride(from: 0, to: x.rows, by: rowsAtOnce) {
      let rows = first..<min(first + rowsAtOnce, x.rows)
      var product = mi_decoding_product()
      product.x = try address(x.slice(rows: rows), .bfloat16, operation)
      if let norm {
        product.norm = try address(norm.weight, .float32, operation)
        product.epsilon = norm.epsilon
      }
      product.rows = Int32(rows.count)
      product.inputs = Int32(inputs)
      product.is_gated = isGated ? 1 : 0
      product.is_wide = products[0].y.type == .float32 ? 1 : 0
      product.accumulate = accumulate ? 1 : 0
      let matrices = try products.map { product in
        var matrix = try matrix(product, rows: rows, operation)
        if case .heads(let heads) = end { matrix.role = heads.role(of: matrix.y) }
        return matrix
      }
      product.matrices.0 = matrices[0]
      if matrices.count > 1 { product.matrices.1 = matrices[1] }
      if matrices.count > 2 { product.matrices.2 = matrices[2] }
      try launch(kind, product, outputs: products.map(\.weight.rows), end: end)
    }
  }

  private func matrix(
    _ product: RowProduct, rows: Range<Int>, _ operation: String
  ) throws -> mi_decoding_matrix {
    let weight = product.weight
    var matrix = mi_decoding_matrix()
    matrix.weight = try blockAddress(weight)
    matrix.bias = try product.bias.map { try biasAddress($0, .float32) } ?? 0
    matrix.y = try address(product.y.slice(rows: rows), operation)
    matrix.outputs = Int32(weight.rows)
    if let scales = weight.blockScales {
      matrix.scales = try address(scales.values, .float32, operation)
      matrix.scale_rows = Int32(scales.rows)
      matrix.scale_columns = Int32(scales.columns)
      matrix.scales_across = Int32((weight.rowCount + scales.columns - 1) / scales.columns)
      matrix.first_row = Int32(scales.firstRow)
    } else if let scales = weight.scales {
      matrix.scales = try address(scales, .float32, operation)
      matrix.scale_rows = 1
      matrix.scale_columns = Int32(weight.rowCount)
      matrix.scales_across = 1
    }
    return matrix
  }

  private func launch(
    _ kind: DecodingKind, _ product: mi_decoding_product, outputs: [Int], end: RowEnd?
  ) throws {
    let isGated = product.is_gated != 0
    let isRow = product.rows == 1
    let isStaged =
      isRow && DecodingLaunch.stages(inputs: Int(product.inputs), hasNorm: product.norm != 0)
    var product = product
    guard case .blocks(let format) = kind else {
      let type =
        switch kind {
        case .float8: "fp8"
        case .float8Blocks: "fp8_blocks"
        default: "bf16"
        }
      let isLong = outputs.reduce(0, +) >= DecodingLaunch.longOutputs
      let groups =
        switch end {
        case .heads: 2
        case .partials: 1
        case nil: isGated || isLong ? 2 : 1
        }
      let blocks =
        isGated
        ? (outputs[0] + 7) / 8
        : outputs.reduce(0) { $0 + ($1 + 8 * groups - 1) / (8 * groups) }
      var arguments = KernelArguments()
      arguments.add(product)
      end?.add(to: &arguments)
      let name =
        switch end {
        case .heads: "decoding_row_heads_\(type)"
        case .partials: "decoding_row_partials_\(type)"
        case nil: "decoding_\(isStaged ? "row" : "product")_\(type)_\(groups)"
        }
      return try kernel(name, in: "decoding_products.cu").launch(
        grid: (blocks, 1, 1), block: ElementwiseLaunch.threads,
        shared: isStaged
          ? DecodingLaunch.stagedBytes(inputs: Int(product.inputs), hasNorm: product.norm != 0) : 0,
        overlapsPrevious: true, arguments)
    }
    var units = isGated ? outputs[0] : outputs.reduce(0, +)
    if case .heads = end { units /= 2 }
    let inputs = Int(product.inputs)
    let parts = DecodingLaunch.parts(units: units, inputs: inputs)
    product.parts = Int32(parts)
    let blocks = DecodingLaunch.blocks(
      units: units, parts: parts, multiprocessors: device.multiprocessors)
    var arguments = KernelArguments()
    arguments.add(product)
    end?.add(to: &arguments)
    let name =
      switch end {
      case .heads: "heads_decoding_blocks_\(format.kernelName)"
      case .partials: "partials_decoding_blocks_\(format.kernelName)"
      case nil:
        (isGated ? "gated_" : "") + "decoding_blocks_\(format.kernelName)_"
          + "\(isRow ? 1 : DecodingKind.rows)"
      }
    try kernel(
      name, in: isRow ? "decoding_blocks.cu" : "decoding_blocks_rows.cu", for: format
    ).launch(
      grid: (blocks, 1, 1), block: ElementwiseLaunch.threads,
      shared: Int(product.rows) * DecodingLaunch.rowBytes(inputs: inputs), overlapsPrevious: false,
      arguments)
  }
}

/// Where the single row of a step comes from or goes to (`decoding_row.cuh`).
enum RowEnd {
  /// Its products are queries, keys and values.
  case heads(mi_decoding_heads)
  /// It is what attention has left.
  case partials(mi_row_attention_parameters)

  fileprivate func add(to arguments: inout KernelArguments) {
    switch self {
    case .heads(let heads): arguments.add(heads)
    case .partials(let attention): arguments.add(attention)
    }
  }
}

extension mi_decoding_heads {
  /// `HeadRole` of what lies there.
  fileprivate func role(of address: UInt64) -> Int32 { address == q ? 1 : address == k ? 2 : 3 }
}

/// Geometry of `decoding_products.cu` and `decoding_blocks.cuh`.
package enum DecodingLaunch {
  /// Matrices of one launch.
  static let matrices = 3
  /// Outputs from which a thread block takes two groups of eight.
  static let longOutputs = 8192
  /// Dynamic shared memory that a thread block may have.
  static let mostSharedBytes = 200 << 10

  /// Whether a row of bfloat16 with the factors of its norm fits the shared memory of every GPU from sm_80 on.
  static func stages(inputs: Int, hasNorm: Bool) -> Bool {
    stagedBytes(inputs: inputs, hasNorm: hasNorm) <= 90 << 10
  }

  static func stagedBytes(inputs: Int, hasNorm: Bool) -> Int { inputs * (hasNorm ? 6 : 2) }

  /// Shared memory that a row of int8 takes, with its scales and sums.
  package static func rowBytes(inputs: Int) -> Int {
    (inputs / 4 + inputs / 32 + inputs / 16 + 3) / 4 * 16
  }

  /// Warps that share an output of blocks: where outputs are few and long.
  package static func parts(units: Int, inputs: Int) -> Int {
    var parts = 1
    while parts < 8, parts * units < 4096, inputs >= 2048 * parts { parts *= 2 }
    return parts
  }

  /// Thread blocks for so many outputs: few enough to run at once, each with as many outputs as the others,
  /// since each makes its row int8.
  package static func blocks(units: Int, parts: Int, multiprocessors: Int) -> Int {
    let wanted = (units * parts + 7) / 8
    let turns = (wanted + 4 * multiprocessors - 1) / (4 * multiprocessors)
    return (wanted + turns - 1) / turns
  }
}
