#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif
internal import Synchronization

/// Operations computed on the host, from numbers read from the device and written back to it.
///
/// A backend without a kernel for an operation calls this by name, one line for each operation. What
/// was served is recorded, so that reports can say what did not run on the device.
public final class HostFallback: Sendable {
  public enum Operation: String, Sendable, Hashable, CaseIterable {
    case mergeAttention, meanPooled, meanPooledKeys, scoreTokens, divergences, mostLikely, draw
    case penalize
  }

  private let served = Mutex<Set<Operation>>([])

  public init() {}

  /// The operations served so far, sorted by name.
  public var operations: [Operation] {
    served.withLock { $0.sorted { $0.rawValue < $1.rawValue } }
  }

  private func record(_ operation: Operation) { served.withLock { _ = $0.insert(operation) } }

  /// As ``AttentionOperations/mergeAttention(_:logSumExp:into:logSumExp:)``.
  public func mergeAttention(
    _ part: Tensor, logSumExp: Tensor, into o: Tensor, logSumExp whole: Tensor,
    memory: any MemoryOperations
  ) throws {
    record(.mergeAttention)
    let heads = logSumExp.count
    try require(
      part.shape == o.shape && logSumExp.shape == whole.shape && heads > 0
        && part.count % heads == 0, "mergeAttention",
      "part \(part.shape) with \(logSumExp.shape), o \(o.shape) with \(whole.shape)")
    let merged = AttentionMerging.merged(
      (try memory.read(part), try memory.read(logSumExp)),
      (try memory.read(o), try memory.read(whole)))
    try memory.write(merged.o, to: o)
    try memory.write(merged.logSumExp, to: whole)
  }

  /// As ``EstimationOperations/meanPooled(_:blockSize:)``.
  public func meanPooled(
    _ x: Tensor, blockSize: Int, memory: any MemoryOperations
  ) throws -> Tensor {
    record(.meanPooled)
    try require(
      x.shape.count == 3 && blockSize > 0, "meanPooled", "x \(x.shape), block size \(blockSize)")
    return try means(
      ReferenceEstimation.meanPooled(
        try memory.read(x), rows: x.shape[0], heads: x.shape[1], headDim: x.shape[2],
        blockSize: blockSize), headDim: x.shape[2], memory: memory)
  }

  /// As ``EstimationOperations/meanPooledKeys(_:count:blockSize:)``.
  public func meanPooledKeys(
    _ layer: KeyValueLayer, count: Int, blockSize: Int, memory: any MemoryOperations
  ) throws -> Tensor {
    record(.meanPooledKeys)
    try require(
      count >= 0 && count <= layer.count && blockSize > 0, "meanPooledKeys",
      "\(count) of \(layer.count) keys, block size \(blockSize)")
    return try means(
      ReferenceEstimation.meanPooledKeys(
        try memory.read(layer.keys), capacity: layer.capacity, count: count,
        keyValueHeads: layer.keys.shape[0], headDim: layer.keys.shape[2], blockSize: blockSize),
      headDim: layer.keys.shape[2], memory: memory)
  }

  private func means(
    _ heads: [[Float]], headDim: Int, memory: any MemoryOperations
  ) throws -> Tensor {
    let blocks = (heads.first?.count ?? 0) / max(1, headDim)
    let tensor = try memory.makeTensor(
      .float32, [heads.count, blocks, headDim], purpose: "means of \(blocks) blocks")
    try memory.write(heads.flatMap { $0 }, to: tensor)
    return tensor
  }

  /// As ``SamplingOperations/scoreTokens(logits:next:)``.
  public func scoreTokens(
    logits: Tensor, next: [Int32], memory: any MemoryOperations
  ) throws -> (likeliest: [Int32], logProbabilities: [Float]) {
    record(.scoreTokens)
    let width = logits.rowCount
    try require(
      logits.rows == next.count && next.allSatisfy { Int($0) < width }, "scoreTokens",
      "logits \(logits.shape), \(next.count) ids")
    let values = try memory.read(logits)
    var likeliest: [Int32] = []
    var logProbabilities: [Float] = []
    for (row, id) in next.enumerated() {
      let logits = values[row * width..<(row + 1) * width]
      var best = logits.startIndex
      for index in logits.indices where logits[index] > logits[best] { best = index }
      likeliest.append(Int32(best - logits.startIndex))
      let largest = logits[best]
      let sum = logits.reduce(0.0) { $0 + Double(expf($1 - largest)) }
      let logit = id < 0 ? nil : logits[logits.startIndex + Int(id)]
      logProbabilities.append(
        logit.map { Float(Double($0) - Double(largest) - log(sum)) } ?? 0)
    }
    return (likeliest, logProbabilities)
  }

  /// As ``SamplingOperations/divergences(of:from:)``.
  public func divergences(
    of logits: Tensor, from reference: Tensor, memory: any MemoryOperations
  ) throws -> [Float] {
    record(.divergences)
    try require(
      logits.shape == reference.shape && logits.rowCount > 0, "divergences",
      "logits \(logits.shape), reference \(reference.shape)")
    let width = logits.rowCount
    let (values, expected) = (try memory.read(logits), try memory.read(reference))
    return (0..<logits.rows).map { row in
      let range = row * width..<(row + 1) * width
      let (q, p) = (values[range], expected[range])
      // The maximum of floats passes over NaN, which the sums then hold.
      let (largestQ, largestP) = (q.max() ?? 0, p.max() ?? 0)
      var (sumQ, sumP, weighted) = (0.0, 0.0, 0.0)
      for place in range {
        let (x, y) = (p[place] - largestP, q[place] - largestQ)
        let weight = Double(expf(x))
        sumP += weight
        sumQ += Double(expf(y))
        if weight != 0 { weighted += weight * Double(x - y) }
      }
      let divergence = weighted / sumP + log(sumQ) - log(sumP)
      return divergence.isNaN ? .nan : Float(max(0, divergence))
    }
  }

  /// As ``SamplingOperations/mostLikely(_:)``.
  public func mostLikely(_ logits: Tensor, memory: any MemoryOperations) throws -> [Int32?] {
    record(.mostLikely)
    let values = try memory.read(logits)
    return (0..<logits.rows).map { row in
      let start = row * logits.rowCount
      var best = -Float.infinity
      var id: Int32?
      for (column, logit) in values[start..<start + logits.rowCount].enumerated() {
        guard logit < .infinity else { return nil }
        if logit > best { (best, id) = (logit, Int32(column)) }
      }
      return id
    }
  }

  /// As ``SamplingOperations/draw(_:from:random:)``.
  public func draw(
    _ draw: TokenDraw, from logits: Tensor, random: [UInt64], memory: any MemoryOperations
  ) throws -> [Int32?] {
    record(.draw)
    let width = logits.rowCount
    try require(
      logits.rows == random.count, "draw",
      "logits \(logits.shape), \(random.count) random numbers")
    let values = try memory.read(logits)
    return random.enumerated().map { row, bits in
      draw.choose(from: values[row * width..<(row + 1) * width], random: bits)
    }
  }

  /// As ``SamplingOperations/penalize(_:in:by:)``.
  public func penalize(
    _ ids: [Int32], in logits: Tensor, by penalty: Float, memory: any MemoryOperations
  ) throws {
    record(.penalize)
    let width = logits.rowCount
    try require(
      ids.allSatisfy { (0..<width).contains(Int($0)) }, "penalize",
      "logits \(logits.shape), ids beyond them")
    var values = try memory.read(logits)
    for start in stride(from: 0, to: values.count, by: max(1, width)) {
      for id in ids {
        let logit = values[start + Int(id)]
        values[start + Int(id)] = logit > 0 ? logit / penalty : logit * penalty
      }
    }
    try memory.write(values, to: logits)
  }
}

extension ComputeError {
  /// What a backend without inputs of linear layers that are narrower than activations throws when it
  /// is asked to fill one.
  package static func noNarrowInputs(_ name: String) -> ComputeError {
    .shapeMismatch(
      operation: "swiGLU", detail: "\(name) has no narrow inputs of linear layers")
  }

  /// What a backend without ``DeviceCapabilities/buildsIndices`` throws when it is asked to build one.
  package static func buildsNoIndices(_ name: String) -> ComputeError {
    .unavailable(
      what: "building indices on the device \(name)",
      remedy: "select on the host from what the estimation operations give")
  }
}
