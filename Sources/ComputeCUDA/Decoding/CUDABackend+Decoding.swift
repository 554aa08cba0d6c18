internal import CUDASources
public import Compute

/// A layer of a decoding step, in a few launches: row r is the next token of sequence r.
extension CUDABackend {
  public func storeRows(
    q: Tensor, k: Tensor, v: Tensor, headNorms: HeadNorms?, rotaries: [RotaryEmbedding],
    in sequences: [KeyValueLayer], positions: [Int]
  ) throws {
    let operation = "storeRows"
    try requireDecodingRows(
      operation, rows: [q.rows, k.rows, v.rows, rotaries.count], positions, sequences)
    guard let rotary = rotaries.first else { return }
    // Rows that are turned alike are one launch.
    guard rotaries.allSatisfy({ $0 == rotary }) else {
      try device.step?.refuse("unlike rotary embeddings")
      for row in positions.indices {
        let rows = row..<row + 1
        try storeRows(
          q: q.slice(rows: rows), k: k.slice(rows: rows), v: v.slice(rows: rows),
          headNorms: headNorms, rotaries: [rotaries[row]], in: [sequences[row]],
          positions: [positions[row]])
      }
      return
    }
    let pairs = rotary.inverseFrequencies.count
    let heads = sequences[0].keys.shape[0]
    let headDim = sequences[0].keys.shape[2]
    try require(
      q.shape.count == 3 && q.shape[2] == headDim && k.shape == [q.rows, heads, headDim]
        && v.shape == k.shape && 2 * pairs <= headDim
        && sequences.allSatisfy { $0.keys.shape[0] == heads && $0.keys.shape[2] == headDim },
      operation,
      "q \(q.shape), k \(k.shape), v \(v.shape), \(pairs) pairs, keys "
        + "\(sequences.map(\.keys.shape))")
    let projected = ProjectedHeads(q: q, k: k, v: v, norms: headNorms, rotaries: rotaries)
    let (parameters, owners) = try headParameters(projected, in: sequences, positions: positions)
    defer { withExtendedLifetime(owners) {} }
    var arguments = KernelArguments()
    arguments.add(parameters)
    let warps = ElementwiseLaunch.threads / 32
    try kernel("decoding_heads", in: "decoding_heads.cu").launch(
      grid: ((q.rows * (q.shape[1] + 2 * heads) + warps - 1) / warps, 1, 1),
      block: ElementwiseLaunch.threads, overlapsPrevious: true, arguments)
  }

  /// The parameters of `decoding_heads.cu`, and what has to live until they are used. All rows are turned alike.
  private func headParameters(
    _ heads: ProjectedHeads, in sequences: [KeyValueLayer], positions: [Int]
  ) throws -> (parameters: mi_decoding_heads, owners: [Tensor?]) {
    let operation = "storeRows"
    let rotary = heads.rotaries[0]
    forgetFloat8Blocks()
    let frequencies = try frequencies(rotary.inverseFrequencies)
    let places = try placesOfRows(positions, sequences)
    var parameters = mi_decoding_heads()
    parameters.q = try address(heads.q, .bfloat16, operation)
    parameters.k = try address(heads.k, .bfloat16, operation)
    parameters.v = try address(heads.v, .bfloat16, operation)
    if let headNorms = heads.norms {
      parameters.q_norm = try address(headNorms.q, .float32, operation)
      parameters.k_norm = try address(headNorms.k, .float32, operation)
      parameters.epsilon = headNorms.epsilon
    }
    parameters.inverse_frequencies = try address(frequencies, operation)
    parameters.sequences = places.sequences
    parameters.positions = places.positions
    parameters.rows = Int32(heads.q.rows)
    parameters.query_heads = Int32(heads.q.shape[1])
    parameters.kv_heads = Int32(sequences[0].keys.shape[0])
    parameters.head_dim = Int32(sequences[0].keys.shape[2])
    parameters.pairs = Int32(rotary.inverseFrequencies.count)
    parameters.is_interleaved = rotary.layout == .interleaved ? 1 : 0
    parameters.is_fp8 = sequences[0].keys.type == .float8 ? 1 : 0
    parameters.attention_scaling = rotary.attentionScaling
    return (parameters, [frequencies, places.owner])
  }

  /// A single row whose heads have no norms and are turned in whole halves goes to queries and cache in the launch
  /// of its products.
  public func storeProjections(
    of x: Tensor, norm: RowNorm, normed: Tensor, products: [RowProduct], heads: ProjectedHeads,
    in sequences: [KeyValueLayer], positions: [Int]
  ) throws {
    let operation = "storeProjections"
    try requireDecodingRows(
      operation, rows: [heads.q.rows, heads.k.rows, heads.v.rows, heads.rotaries.count], positions,
      sequences)
    guard x.rows == 1, heads.norms == nil, let rotary = heads.rotaries.first,
      let keys = sequences.first?.keys, keys.type == .bfloat16, keys.shape.count == 3,
      rotary.layout == .halves, keys.shape[2] % 16 == 0,
      2 * rotary.inverseFrequencies.count == keys.shape[2],
      heads.q.shape.count == 3, heads.q.shape[2] == keys.shape[2],
      heads.k.shape == [1, keys.shape[0], keys.shape[2]], heads.v.shape == heads.k.shape,
      canBeOneRow(products, x: x, hasNorm: true)
    else {
      try normedLinear(x, norm: norm, normed: normed, products: products)
      return try storeRows(
        q: heads.q, k: heads.k, v: heads.v, headNorms: heads.norms, rotaries: heads.rotaries,
        in: sequences, positions: positions)
    }
    let (parameters, owners) = try headParameters(heads, in: sequences, positions: positions)
    defer { withExtendedLifetime(owners) {} }
    try launchRow(x, norm: norm, products, .heads(parameters))
  }

  /// What few splits of attention of a single row have left is merged by the projection.
  public func rowAttention(
    q: Tensor, positions: [Int], sequences: [KeyValueLayer], shape: AttentionShape,
    projection: RowProduct, accumulate: Bool
  ) throws {
    let x = q.reshaped([q.rows, q.rowCount])
    if q.rows == 1, canBeOneRow([projection], x: x, hasNorm: false),
      let left = try rowAttention(
        q: q, positions: positions, sequences: sequences, shape: shape, into: q, mayLeave: true)
    {
      defer { withExtendedLifetime(left.owners) {} }
      return try launchRow(
        x, norm: nil, [projection], .partials(left.parameters), accumulate: accumulate)
    }
    if q.rows != 1 || !canBeOneRow([projection], x: x, hasNorm: false) {
      try rowAttention(q: q, positions: positions, sequences: sequences, shape: shape, into: q)
    }
    try rowLinear(
      x, weight: projection.weight, bias: projection.bias, into: projection.y,
      accumulate: accumulate)
  }

  public func rowAttention(
    q: Tensor, positions: [Int], sequences: [KeyValueLayer], shape: AttentionShape, into o: Tensor
  ) throws {
    _ = try rowAttention(
      q: q, positions: positions, sequences: sequences, shape: shape, into: o, mayLeave: false)
  }

  /// Attention of rows.
  ///
  /// - Parameter mayLeave: What splits of a single row give may be left unmerged where there are few of them.
  /// - Returns: What was left, and what has to live until it is used; nil: the result is in `o`.
  private func rowAttention(
    q: Tensor, positions: [Int], sequences: [KeyValueLayer], shape: AttentionShape, into o: Tensor,
    mayLeave: Bool
  ) throws -> (parameters: mi_row_attention_parameters, owners: [Tensor?])? {
    let operation = "rowAttention"
    let headDim = shape.headDim
    let rows = q.rows
    try requireDecodingRows(operation, rows: [rows, o.rows], positions, sequences)
    try require(
      q.shape == [rows, shape.queryHeads, headDim] && o.shape == q.shape
        && Self.headDims.contains(headDim)
        && sequences.allSatisfy {
          $0.keys.shape[0] == shape.keyValueHeads && $0.keys.shape[2] == headDim
        }, operation,
      "q \(q.shape), o \(o.shape), keys \(sequences.map(\.keys.shape)); head sizes are 64, 96 or "
        + "128 on a GPU")
    guard rows > 0 else { return nil }
    // A block of the kernel has room for the heads of so large a group.
    guard shape.groupSize <= 16 else {
      try device.step?.refuse("\(shape.groupSize) query heads for each key-value head")
      for row in positions.indices {
        try rowAttention(
          q: q.slice(rows: row..<row + 1), positions: [positions[row]], layer: sequences[row],
          shape: shape, into: o.slice(rows: row..<row + 1), logSumExp: nil)
      }
      return nil
    }
    // Sequences of one model have the same sinks.
    let sinks = try sequences[0].sinkLogits(of: shape)
    let sums = try sinks.map { _ in try logSumExps(of: q) }
    let isQuantized = sequences[0].keys.type == .float8
    let blocks = rows * shape.keyValueHeads
    // A step is repeated at later positions: it shares out the keys of the last one.
    let keys = device.step?.keyLimit ?? ((positions.max() ?? 0) + 1)
    let most = (keys + AttentionLaunch.rowKeys - 1) / AttentionLaunch.rowKeys
    let blocksEach = isQuantized ? 2 : 1
    let mayLeave = mayLeave && sinks == nil && keys <= AttentionLaunch.leftKeys
    let splits = max(
      1,
      min(
        most, blocksEach * device.multiprocessors / blocks,
        mayLeave ? AttentionLaunch.leftSplits : .max))
    let isOneLaunch =
      splits * shape.groupSize <= AttentionLaunch.rowPartials
      && blocks <= AttentionLaunch.rowCounters
    let room = splits * rows * shape.queryHeads * (headDim + 2)
    let memory = try rowMemory(partials: room)
    let places = try placesOfRows(positions, sequences)
    defer { withExtendedLifetime((memory, places, sums)) {} }
    var parameters = mi_row_attention_parameters()
    parameters.q = try address(q, .bfloat16, operation)
    parameters.o = try address(o, .bfloat16, operation)
    parameters.positions = places.positions
    parameters.sequences = places.sequences
    parameters.log_sum_exp = try sums.map { try address($0, .float32, operation) } ?? 0
    parameters.workspace = try address(memory.partials, operation)
    parameters.counters = isOneLaunch && !mayLeave ? try address(memory.counters, operation) : 0
    parameters.rows = Int32(rows)
    parameters.q_stride = Int32(q.rowCount)
    parameters.o_stride = Int32(o.rowCount)
    parameters.query_heads = Int32(shape.queryHeads)
    parameters.group_size = Int32(shape.groupSize)
    parameters.splits = Int32(splits)
    parameters.window = Int32(clamping: shape.slidingWindow ?? .max)
    parameters.scale_log2 = shape.scale * 1.442695040888963
    var arguments = KernelArguments()
    arguments.add(parameters)
    let file = "row_attention_sequences.cu"
    try kernel("row_attention_sequences_\(isQuantized ? "fp8_" : "")d\(headDim)", in: file).launch(
      grid: (splits, rows, shape.keyValueHeads), block: AttentionLaunch.threads,
      shared: headDim == 96 ? 73728 : 98304, overlapsPrevious: true, arguments)
    if mayLeave { return (parameters, [memory.partials, places.owner]) }
    if !isOneLaunch {
      try kernel("row_attention_combine_d\(headDim)", in: "row_attention.cu").launch(
        grid: (rows * shape.queryHeads, 1, 1), block: 256, arguments)
    }
    if let sinks, let sums { try add(sinks, to: o, logSumExp: sums) }
    return nil
  }
}

/// Where the device finds what is a row's own.
struct PlacesOfRows {
  /// [rows] int32.
  let positions: UInt64
  /// [rows] `SequenceRow`.
  let sequences: UInt64
  /// What keeps them there.
  let owner: Tensor?
}

extension CUDABackend {
  /// Positions and keys and values of rows, where the step has them or in memory of their own.
  private func placesOfRows(
    _ positions: [Int], _ sequences: [KeyValueLayer]
  ) throws -> PlacesOfRows {
    if let step = device.step {
      return PlacesOfRows(
        positions: try step.positionAddress(rows: positions.count),
        sequences: try step.tableAddress(of: sequences) { try describe(rows: sequences) },
        owner: nil)
    }
    let table = try describe(rows: sequences)
    var bytes = table.withUnsafeBytes { [UInt8]($0) }
    positions.map(Int32.init).withUnsafeBytes { bytes += $0 }
    let tensor = try uploaded(bytes, purpose: "where the rows of a decoding step are")
    let address = try address(tensor, "a decoding step")
    return PlacesOfRows(
      positions: address + UInt64(table.count * MemoryLayout<mi_sequence_row>.stride),
      sequences: address, owner: tensor)
  }

  /// One layer of each sequence, as kernels find it.
  func describe(rows sequences: [KeyValueLayer]) throws -> [mi_sequence_row] {
    try sequences.map { layer in
      let type = layer.keys.type
      try require(
        layer.keys.shape == layer.values.shape && layer.values.type == type
          && (type == .bfloat16 || type == .float8) && (type == .float8) == (layer.scales != nil),
        "a decoding step", "keys of \(type.rawValue) \(layer.keys.shape)")
      let scales = try layer.scales.map { try address($0, .float32, "a decoding step") } ?? 0
      return mi_sequence_row(
        k: try address(layer.keys, "a decoding step"),
        v: try address(layer.values, "a decoding step"), key_scales: scales,
        value_scales: scales == 0 ? 0 : scales + UInt64(4 * layer.keys.shape[0]),
        kv_head_stride: Int64(layer.capacity * layer.keys.shape[2]))
    }
  }
}
